"""A form with a file, read as it arrives: the file goes to the disk piece by piece and is never in memory whole."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from batches.files import most_bytes
from batches.storing import Upload, scratch
from common.errors import BodyTooLargeError, InvalidRequestError, InvalidValueError, MissingParameterError
from gateway.wire import Exchange

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

WRITTEN_AT_ONCE = 1024 * 1024
MOST_FIELDS = 20
MOST_FIELD_BYTES = 4096
# What stands around the file in the body.
FRAME_BYTES = 128 * 1024
MOST_NAME_CHARACTERS = 255


class NotAFormError(InvalidRequestError):
    def __init__(self) -> None:
        super().__init__("We could not read your upload. Send a form (multipart/form-data) with 'file' and 'purpose'.")


class _Form:
    """What the parser finds, piece by piece."""

    def __init__(self) -> None:
        self.fields: dict[str, bytes] = {}
        self.filename: str | None = None
        self.unwritten = bytearray()
        self.is_complete = False
        self._header_name, self._header_value = bytearray(), bytearray()
        self._headers: dict[str, bytes] = {}
        self._name: str | None = None
        self._is_file = False

    def on_part_begin(self) -> None:
        self._headers = {}

    def on_header_begin(self) -> None:
        self._header_name, self._header_value = bytearray(), bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = bytes(self._header_value)

    def on_headers_finished(self) -> None:
        _kind, options = parse_options_header(self._headers.get("content-disposition"))
        self._name = _decoded(options.get(b"name", b""))
        self._is_file = b"filename" in options
        if not self._is_file:
            if len(self.fields) >= MOST_FIELDS:
                raise InvalidRequestError(f"An upload has at most {MOST_FIELDS} fields.")
            self.fields[self._name] = b""
            return
        if self._name != "file" or self.filename is not None:
            raise InvalidValueError(self._name[:100], "one file, in the field 'file'")
        self.filename = _clean(_decoded(options[b"filename"]))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.unwritten += data[start:end]
            return
        assert self._name is not None  # noqa: S101 - the headers of a part come before its data
        self.fields[self._name] += data[start:end]
        if len(self.fields[self._name]) > MOST_FIELD_BYTES:
            raise InvalidValueError(self._name[:100], f"at most {MOST_FIELD_BYTES} bytes")

    def on_end(self) -> None:
        self.is_complete = True

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self.on_part_begin,
            "on_header_begin": self.on_header_begin,
            "on_header_field": self.on_header_field,
            "on_header_value": self.on_header_value,
            "on_header_end": self.on_header_end,
            "on_headers_finished": self.on_headers_finished,
            "on_part_data": self.on_part_data,
            "on_end": self.on_end,
        }

    @property
    def purpose(self) -> str | None:
        given = self.fields.get("purpose")
        return None if given is None else _decoded(given)


@asynccontextmanager
async def received(exchange: Exchange, disk: Executor) -> AsyncIterator[Upload]:
    """The form in the body of a request; its file is there until the end.

    Raises InvalidRequestErrors, BodyTooLargeError as soon as the file is, OSError when the disk takes no more, and
    ClientGoneError when the client leaves before the end.
    """
    kind, options = parse_options_header(exchange.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise NotAFormError
    announced = exchange.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most_bytes(None) + FRAME_BYTES:
        raise BodyTooLargeError(limit_bytes=most_bytes(None))
    with scratch() as file:
        yield await _read(exchange, boundary, file, disk)


async def _read(exchange: Exchange, boundary: bytes, file: IO[bytes], disk: Executor) -> Upload:
    form, size = _Form(), 0
    loop = asyncio.get_running_loop()
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for piece in exchange.pieces():
            parser.write(piece)
            if size + len(form.unwritten) > most_bytes(form.purpose):
                raise BodyTooLargeError(limit_bytes=most_bytes(form.purpose))
            if len(form.unwritten) >= WRITTEN_AT_ONCE:
                size += len(form.unwritten)
                await loop.run_in_executor(disk, file.write, bytes(form.unwritten))
                form.unwritten.clear()
        parser.finalize()
    except FormParserError:
        raise NotAFormError from None
    if not form.is_complete:
        raise NotAFormError
    if form.filename is None:
        raise MissingParameterError("file")
    size += len(form.unwritten)
    await loop.run_in_executor(disk, _write_last, file, bytes(form.unwritten))
    fields = {name: _decoded(value) for name, value in form.fields.items()}
    return Upload(path=Path(file.name), filename=form.filename, size_bytes=size, fields=fields)


def _write_last(file: IO[bytes], piece: bytes) -> None:
    file.write(piece)
    file.flush()


def _decoded(text: bytes) -> str:
    return text.decode(errors="replace")


def _clean(filename: str) -> str:
    """A name without a folder, that can be stored and shown."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable())[:MOST_NAME_CHARACTERS] or "upload"

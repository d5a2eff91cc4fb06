"""Forms with files: one to be stored goes to the disk as it arrives, those for an inference server are read whole."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from batches.files import most_bytes
from batches.storing import Upload, scratch
from common.errors import BodyTooLargeError, InvalidRequestError, InvalidValueError, MissingParameterError
from gateway.wire import Exchange
from inference.checks import Body
from inference.forms import Attachment

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

WRITTEN_AT_ONCE = 1024 * 1024
MOST_FIELDS = 20
MOST_FIELD_BYTES = 4096
# As long as OpenAI takes what is to become of a picture: 32,000 characters.
MOST_PROMPT_BYTES = 128 * 1024
STORED_FILE = {"file": 1}
# What stands around the file in the body.
FRAME_BYTES = 128 * 1024
MOST_NAME_CHARACTERS = 255


class NotAFormError(InvalidRequestError):
    def __init__(self) -> None:
        super().__init__("We could not read your upload. Send a form (multipart/form-data) with the file in it.")


@dataclass(slots=True)
class _File:
    """A file as it arrives. `content` is what came of it, but for what was written to the disk."""

    name: str
    filename: str
    kind: str
    content: bytearray = field(default_factory=bytearray)


class _Form:
    """What the parser finds, piece by piece: in which fields files may be, and how many in each, it is told."""

    def __init__(self, may_hold: Mapping[str, int], *, most_field_bytes: int) -> None:
        self.fields: list[tuple[str, bytearray]] = []
        self.files: list[_File] = []
        self.is_complete = False
        self._may_hold = may_hold
        self._most_field_bytes = most_field_bytes
        self._header_name, self._header_value = bytearray(), bytearray()
        self._headers: dict[str, bytes] = {}
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
        name = _decoded(options.get(b"name", b""))
        self._is_file = b"filename" in options
        if not self._is_file:
            if len(self.fields) >= MOST_FIELDS:
                raise InvalidRequestError(f"An upload has at most {MOST_FIELDS} fields.")
            self.fields.append((name, bytearray()))
            return
        if sum(file.name == name for file in self.files) >= self._may_hold.get(name, 0):
            places = ", ".join(f"{most} in '{place}'" for place, most in self._may_hold.items())
            raise InvalidValueError(name[:100], f"files in their fields, at most {places}")
        kind = _decoded(self._headers.get("content-type", b""))
        self.files.append(_File(name, _clean(_decoded(options[b"filename"])), kind))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.files[-1].content += data[start:end]
            return
        name, value = self.fields[-1]
        value += data[start:end]
        if len(value) > self._most_field_bytes:
            raise InvalidValueError(name[:100], f"at most {self._most_field_bytes} bytes")

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
        return self.texts().get("purpose")

    def texts(self) -> dict[str, str]:
        """The fields but for files. Of several by one name the last counts."""
        return {name: _decoded(value) for name, value in self.fields}

    def lists(self) -> dict[str, list[str]]:
        """The fields that are marked as lists by their names, as in `timestamp_granularities[]`."""
        found: dict[str, list[str]] = {}
        for name, value in self.fields:
            if name.endswith("[]"):
                found.setdefault(name, []).append(_decoded(value))
        return found

    def attachments(self) -> dict[str, list[Attachment]]:
        """The files by their fields."""
        found: dict[str, list[Attachment]] = {}
        for file in self.files:
            found.setdefault(file.name, []).append(Attachment(file.filename, file.kind, bytes(file.content)))
        return found


@asynccontextmanager
async def received(exchange: Exchange, disk: Executor) -> AsyncIterator[Upload]:
    """The form in the body of a request; its file is there until the end.

    Raises InvalidRequestErrors, BodyTooLargeError as soon as the file is, OSError when the disk takes no more, and
    ClientGoneError when the client leaves before the end.
    """
    boundary = _boundary(exchange)
    announced = exchange.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most_bytes(None) + FRAME_BYTES:
        raise BodyTooLargeError(limit_bytes=most_bytes(None))
    with scratch() as file:
        yield await _read(exchange, boundary, file, disk)


async def form(exchange: Exchange, files: Mapping[str, int]) -> Body:
    """The form in the body of a request, in memory: as large as a JSON body may be, with so many files in each field.

    Raises InvalidRequestErrors, BodyTooLargeError, and ClientGoneError when the client leaves before the end.
    """
    boundary, raw = _boundary(exchange), await exchange.body()
    found = _Form(files, most_field_bytes=MOST_PROMPT_BYTES)
    with _parsed(boundary, found) as parser:
        parser.write(raw)
    return {**found.texts(), **found.lists(), **found.attachments()}


def _boundary(exchange: Exchange) -> bytes:
    kind, options = parse_options_header(exchange.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise NotAFormError
    return boundary


@contextmanager
def _parsed(boundary: bytes, found: _Form) -> Iterator[MultipartParser]:
    """A parser to write the body to; what it finds is whole at the end. Raises NotAFormError."""
    try:
        parser = MultipartParser(boundary, found.callbacks())
        yield parser
        parser.finalize()
    except FormParserError:
        raise NotAFormError from None
    if not found.is_complete:
        raise NotAFormError


async def _read(exchange: Exchange, boundary: bytes, file: IO[bytes], disk: Executor) -> Upload:
    size = 0
    loop = asyncio.get_running_loop()
    found = _Form(STORED_FILE, most_field_bytes=MOST_FIELD_BYTES)
    with _parsed(boundary, found) as parser:
        async for piece in exchange.pieces():
            parser.write(piece)
            unwritten = found.files[0].content if found.files else bytearray()
            if size + len(unwritten) > most_bytes(found.purpose):
                raise BodyTooLargeError(limit_bytes=most_bytes(found.purpose))
            if len(unwritten) >= WRITTEN_AT_ONCE:
                size += len(unwritten)
                await loop.run_in_executor(disk, file.write, bytes(unwritten))
                unwritten.clear()
    if not found.files:
        raise MissingParameterError("file")
    uploaded = found.files[0]
    size += len(uploaded.content)
    await loop.run_in_executor(disk, _write_last, file, bytes(uploaded.content))
    return Upload(path=Path(file.name), filename=uploaded.filename, size_bytes=size, fields=found.texts())


def _write_last(file: IO[bytes], piece: bytes) -> None:
    file.write(piece)
    file.flush()


def _decoded(text: bytes | bytearray) -> str:
    return text.decode(errors="replace")


def _clean(filename: str) -> str:
    """A name without a folder, that can be stored and shown."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable())[:MOST_NAME_CHARACTERS] or "upload"

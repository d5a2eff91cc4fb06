"""The lines of a batch's input, checked before any is asked and then read one at a time; and those that answer them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import orjson
from django.conf import settings

from common import ids
from common.errors import ApiError
from inference.bodies import read_object
from inference.checks import Body
from inference.endpoints import model_name
from usage.call import CallUsage

MOST_LINES = 50_000
MOST_CUSTOM_ID_CHARACTERS = 512
# A file of which everything is wrong is not repeated as a list of errors.
MOST_ERRORS = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch. `number` is its line in the file, from 1."""

    number: int
    custom_id: str
    body: Body


@dataclass(frozen=True, slots=True)
class Checked:
    """What a whole input is: usable when `errors` is empty."""

    total: int
    model_name: str
    errors: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Result:
    """A line that is done, as it stands in the output or, if `is_error`, in the error file."""

    number: int
    text: bytes
    is_error: bool
    usage: CallUsage | None = None


class _LineError(Exception):
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


def check(file: IO[bytes], *, endpoint: str) -> Checked:
    """Read the whole input of a batch for `endpoint` and find what is wrong with it."""
    errors: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    model, total = "", 0
    for number, raw in _raw_lines(file):
        total += 1
        if total > MOST_LINES:
            errors.append(
                _error("too_many_tasks", f"A batch has at most {MOST_LINES} lines with requests.", None, None)
            )
            break
        try:
            line = _read(number, raw, endpoint=endpoint)
            if line.custom_id in seen:
                raise _LineError(
                    "duplicate_custom_id",
                    f"This custom_id stands on line {seen[line.custom_id]} already. Each must be there once.",
                    "custom_id",
                )
            seen[line.custom_id] = number
            model = model or line.body["model"]
            if line.body["model"] != model:
                raise _LineError("mismatched_model", "Every line must be for the model of the first one.", "body.model")
        except _LineError as error:
            errors.append(_error(error.code, error.message, error.param, number))
        if len(errors) >= MOST_ERRORS:
            break
    if total == 0:
        errors.append(_error("empty_file", "The file has no lines.", None, None))
    return Checked(total, model, errors)


def failure(code: str, message: str) -> list[dict[str, Any]]:
    """What is wrong with a batch as a whole."""
    return [_error(code, message, None, None)]


def to_ask(file: IO[bytes], *, done: set[int], endpoint: str) -> Iterator[Line]:
    """The lines of a checked input that are not done."""
    for number, raw in _raw_lines(file):
        if number not in done:
            yield _read(number, raw, endpoint=endpoint)


def answered(line: Line, *, request_id: str, body: bytes | bytearray, usage: CallUsage | None) -> Result:
    """The line of a call that was answered."""
    # A line break can only stand between the parts of JSON, never in a text. Whatever else is in it stays as it is.
    whole = bytes(body).replace(b"\n", b" ").replace(b"\r", b" ")
    return Result(line.number, _text(line, request_id, 200, whole), is_error=False, usage=usage)


def refused(line: Line, *, request_id: str, error: ApiError) -> Result:
    """The line of a call that was refused or failed."""
    text = _text(line, request_id, error.status, orjson.dumps(error.body()))
    return Result(line.number, text, is_error=True)


def unasked(line: Line, *, code: str, message: str) -> Result:
    """The line of a request that was never made, or was given up."""
    fields = {
        "id": _line_id(),
        "custom_id": line.custom_id,
        "response": None,
        "error": {"code": code, "message": message},
    }
    return Result(line.number, orjson.dumps(fields) + b"\n", is_error=True)


def _text(line: Line, request_id: str, status: int, body: bytes) -> bytes:
    custom_id = orjson.dumps(line.custom_id)
    return b"".join(
        (
            b'{"id":"' + _line_id().encode() + b'","custom_id":' + custom_id,
            b',"response":{"status_code":' + str(status).encode(),
            b',"request_id":"' + request_id.encode() + b'","body":' + body + b'},"error":null}\n',
        )
    )


def _line_id() -> str:
    return ids.new_id("batch_req")


def _raw_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, by their number. Of one that is too long only as much as shows that it is."""
    most: int = settings.GATEWAY_MAX_BODY_BYTES
    number = 0
    while raw := file.readline(most + 2):
        number += 1
        piece = raw
        while not piece.endswith(b"\n") and (piece := file.readline(most)):
            pass
        if raw.strip():
            yield number, raw


def _read(number: int, raw: bytes, *, endpoint: str) -> Line:
    if len(raw.rstrip(b"\r\n")) > settings.GATEWAY_MAX_BODY_BYTES:
        raise _LineError("line_too_long", f"A line has at most {settings.GATEWAY_MAX_BODY_BYTES} bytes.")
    try:
        fields = read_object(raw)
    except ApiError:
        raise _LineError("invalid_json_line", "This line is not one JSON object, encoded as UTF-8.") from None
    custom_id, body = fields.get("custom_id"), fields.get("body")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MOST_CUSTOM_ID_CHARACTERS:
        raise _LineError(
            "invalid_custom_id", f"Expected a text of 1 to {MOST_CUSTOM_ID_CHARACTERS} characters.", "custom_id"
        )
    if fields.get("method") != "POST":
        raise _LineError("invalid_method", "Expected 'POST'.", "method")
    if fields.get("url") != f"/v1/{endpoint}":
        raise _LineError("mismatched_url", f"Expected '/v1/{endpoint}', the endpoint of the batch.", "url")
    if not isinstance(body, dict):
        raise _LineError("invalid_body", "Expected the JSON object that the endpoint takes.", "body")
    try:
        model_name(body)
    except ApiError as error:
        raise _LineError(error.code or error.kind, error.message, "body.model") from None
    if body.get("stream"):
        raise _LineError("unsupported_parameter", "Answers in a batch are not streamed.", "body.stream")
    return Line(number, custom_id, body)


def _error(code: str, message: str, param: str | None, line: int | None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param, "line": line}

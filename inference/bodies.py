"""Requests as they are read: one JSON object, of a size that is parsed without keeping every other call waiting."""

import orjson

from common.errors import BadJsonError, InvalidValueError
from inference.checks import Body

# A body is parsed in one go: a million objects or fields in it would keep every other call waiting for seconds.
MOST_BRACKETS = 300_000
MOST_STRINGS = 150_000


def read_object(raw: bytes) -> Body:
    """The JSON object that `raw` is.

    Raises BadJsonError or InvalidValueError.
    """
    if raw.count(b"{") + raw.count(b"[") > MOST_BRACKETS:
        raise InvalidValueError("body", f"at most {MOST_BRACKETS} objects and lists")
    # Quotes inside a text are escaped, so that long texts do not count.
    if (raw.count(b'"') - raw.count(b'\\"')) // 2 > MOST_STRINGS:
        raise InvalidValueError("body", f"at most {MOST_STRINGS} fields and texts")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadJsonError from None
    if not isinstance(body, dict):
        raise BadJsonError
    return body

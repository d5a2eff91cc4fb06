"""The shapes that errors have, by whose API an endpoint is: clients read what is wrong from where they expect it."""

from collections.abc import Callable
from typing import Any

import orjson

from common.errors import ApiError

ShapeOfErrors = Callable[[ApiError], dict[str, Any]]

# https://docs.anthropic.com/en/api/errors
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def anthropic_error(error: ApiError) -> dict[str, Any]:
    """The body of an error in Anthropic's API, and the data of the event that ends a stream of it."""
    kind = ANTHROPIC_TYPES.get(error.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def event(data: bytes, *, kind: str = "") -> bytes:
    """The frame of a server-sent event, of a kind if its API names them."""
    head = b"event: " + kind.encode() + b"\n" if kind else b""
    # A server may write its JSON over several lines.
    return head + b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n"


def json_event(content: dict[str, Any], *, kind: str = "") -> bytes:
    """The frame of an event with `content` as its data."""
    return event(orjson.dumps(content), kind=kind)

"""What an inference server's failure becomes for the client: rebuilt in our words, so that nothing inside leaks out."""

import re
from typing import Any

import orjson

from common.errors import (
    ApiError,
    ContextTooLongError,
    InvalidRequestError,
    OverloadedError,
    RateLimitError,
    UpstreamError,
)

# Fields a client sends and a server may name back. Any other word of a server's could be one from inside it.
FIELDS = (
    "messages|model|tools|tool_choice|functions|function_call|response_format|stop|seed|n|user|stream|stream_options"
)
FIELDS += "|temperature|top_p|top_k|min_p|logprobs|top_logprobs|logit_bias|max_tokens|max_completion_tokens|modalities"
FIELDS += "|frequency_penalty|presence_penalty|repetition_penalty|parallel_tool_calls|reasoning_effort|input|dimensions"
FIELDS += "|prompt|suffix|echo|instructions|max_output_tokens|system|stop_sequences|query|documents|top_n|voice|size"
FIELDS += (
    "|encoding_format|guided_json|guided_regex|guided_choice|structured_outputs|chat_template_kwargs|reasoning_format"
)
PARAM = re.compile(
    rf"(?:{FIELDS})(?:\[\d{{1,4}}\]|\.\d{{1,4}}|\.(?:role|content|name|type|function|parameters|json_schema))*"
)
TOO_LONG = re.compile(
    r"context.{0,20}(length|size|window)|context_length_exceeded|exceed_context_size|maximum (input|sequence) length"
    r"|inputs?\W+tokens?\W+(\+|max_new_tokens|must)|too many tokens|longer than the (model|maximum)",
    re.IGNORECASE,
)
NUMBER = re.compile(r"\b\d{2,9}\b")


class AttemptFailedError(Exception):
    """One attempt at one server failed. `answer` is what the client is told if no other server does better.

    A call is sent a second time only if the first sending cannot have done anything: a request that ends one server
    must not be handed to the next.

        the server could not be reached          elsewhere
        it is busy or starting (429, 503)        elsewhere
        it does not serve us (3xx, 401–404)      elsewhere
        it lacks the endpoint                    elsewhere, and it is not at fault
        what it answered is no answer            elsewhere
        a kept connection was closed, unanswered  the same server again: it may have been closing it just then
        a new connection was closed, unanswered  not at all: the call may have ended the server
        any other 5xx, and all that comes later  not at all: the server was at work
        it took the call and keeps silent        not at all
    """

    def __init__(
        self,
        answer: ApiError,
        *,
        elsewhere: bool = False,
        again: bool = False,
        is_servers: bool | None = None,
    ) -> None:
        super().__init__(answer.message)
        self.answer = answer
        self.elsewhere = elsewhere
        """Whether another server may be tried."""
        self.again = again
        """Whether the same server may be tried once more."""
        self.is_servers = elsewhere if is_servers is None else is_servers
        """Whether it counts against the server, so that others are preferred for a moment."""


# What llama.cpp answers 500 to, though the request is at fault, and the field it is about.
CLIENT_FAULTS = (
    (re.compile(r"failed to parse messages", re.IGNORECASE), "messages"),
    (re.compile(r"failed to parse tools", re.IGNORECASE), "tools"),
    (re.compile(r"(?:image|audio|video) input is not supported", re.IGNORECASE), "messages"),
    (re.compile(r"unknown reasoning format", re.IGNORECASE), "reasoning_format"),
)


NO_SUCH_PATH = frozenset({404, 405, 501})


def from_status(status: int, body: bytes, *, retry_after: str | None, may_lack: str = "") -> AttemptFailedError:
    """The failure of a server that answered with an error status. `may_lack` is a path that not every server has."""
    if may_lack and status in NO_SUCH_PATH:
        lacks = InvalidRequestError(
            f"The server of this model does not offer /v1/{may_lack}.", code="unsupported_model", param="model"
        )
        return AttemptFailedError(lacks, elsewhere=True, is_servers=False)
    if status in (400, 413, 422):
        return AttemptFailedError(from_object(_error_object(body), status=status))
    if status == 500:
        error = _error_object(body)
        for fault, field in CLIENT_FAULTS:
            if fault.match(str(error.get("message"))):
                return AttemptFailedError(from_object({"param": field}, status=400))
    if status in (429, 503):
        wait = _seconds(retry_after)
        if status == 429:
            busy: ApiError = RateLimitError(
                "The model's server is busy. Try again.", kind="requests", wait_seconds=wait
            )
        else:
            busy = OverloadedError("The model's server is overloaded or starting.", wait_seconds=wait)
        return AttemptFailedError(busy, elsewhere=True)
    # A server that refuses our credential, has lost the model or redirects is broken for us, whatever it calls it.
    return AttemptFailedError(UpstreamError(), elsewhere=status < 500, is_servers=True)


def from_object(error: dict[str, Any], *, status: int) -> ApiError:
    """The error that a server described, in our words: the numbers and the field it names are kept, its text is not."""
    text = str(error.get("message") or error.get("detail") or "")
    code = error.get("code") if isinstance(error.get("code"), str) else None
    kind = error.get("type") if isinstance(error.get("type"), str) else None
    if TOO_LONG.search(" ".join(filter(None, (text, code, kind)))):
        numbers = [int(number) for number in NUMBER.findall(text)]
        told_limit, told_request = error.get("n_ctx"), error.get("n_prompt_tokens")
        limit = told_limit if isinstance(told_limit, int) else (min(numbers) if len(numbers) > 1 else None)
        requested = told_request if isinstance(told_request, int) else (max(numbers) if len(numbers) > 1 else None)
        return ContextTooLongError(limit=limit, requested=requested)
    if status >= 500:
        return UpstreamError()
    param = error.get("param")
    if not isinstance(param, str) or not PARAM.fullmatch(param):
        param = None
    named = f" It objects to '{param}'." if param else ""
    return InvalidRequestError(
        f"The model's server does not accept this request.{named} Check the fields and their values.",
        code="invalid_value",
        param=param,
    )


def mid_stream(error: Any) -> ApiError:
    """The error that a server sent inside a stream."""
    found = error if isinstance(error, dict) else {}
    rebuilt = from_object(found, status=500)
    return rebuilt if isinstance(rebuilt, ContextTooLongError) else UpstreamError()


def _error_object(body: bytes) -> dict[str, Any]:
    """The error in a body, nested under `error` or not: vLLM before 0.10.1 did not nest, FastAPI says `detail`."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(parsed, dict):
        return {}
    nested = parsed.get("error")
    if isinstance(nested, dict):
        return nested
    if isinstance(nested, str):
        return {"message": nested}
    detail = parsed.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        place = detail[0].get("loc")
        fields = [str(item) for item in place if item != "body"] if isinstance(place, list) else []
        return {"message": "", "param": ".".join(fields)}
    return parsed


def _seconds(retry_after: str | None) -> float:
    try:
        seconds = float(retry_after or 1)
    except ValueError:
        return 1.0
    # "nan" is a number to Python, and smaller than none.
    return min(seconds, 3600.0) if seconds >= 1.0 else 1.0

"""Answers that are not streamed: what they count to, and what must change in them before the client gets them.

A large one is not parsed: that would keep every other call waiting. What matters stands near its beginning or its end,
for the bulk is the results between, and inside a text no quote is bare: a field found by its quotes is a field.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import orjson

from common.errors import UpstreamError
from inference.counting import TokenCount, as_usage, called_with, estimated_output, likely_tokens, reported
from inference.endpoints import Endpoint
from inference.failures import AttemptFailedError, from_object

LARGEST_PARSED_BYTES = 1024 * 1024
EDGE_BYTES = 64 * 1024
USAGE = re.compile(rb'(?<!\\)"usage"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|null)')
MODEL = re.compile(rb'(?<!\\)"model"\s*:\s*("(?:[^"\\]|\\.)*"|null)')
# What was heard comes before the pieces of it, each with its time.
HEARD = re.compile(rb'(?<!\\)"text"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)"')
# So many places in an edge are tried: a caller whose tools are repeated in the answer could bring thousands.
MOST_TRIED = 16
# Each token of an answer with log probabilities has one; a completion has one for all its tokens.
TOKEN_MARK = b'"top_logprobs":'


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer as the client gets it. `is_estimated`: the count is ours, not the server's."""

    body: bytes | bytearray
    count: TokenCount
    is_estimated: bool


def whole_answer(
    received: bytearray,
    *,
    endpoint: Endpoint,
    model: str,
    choices: int,
    asked_output: int | None,
    likely_prompt: int,
) -> WholeAnswer:
    """What a server's answer is to the client: under the name `model`, with a count. Bytes change only if they must.

    Those of a large answer change in `received` itself. `choices` is how many were asked for, of `asked_output` tokens
    each at most. Raises AttemptFailedError when it is no such answer.
    """
    if len(received) > LARGEST_PARSED_BYTES:
        _check_large(received, endpoint)
        counted = _counted(received, endpoint, choices, asked_output, likely_prompt)
        _rename(received, model, endpoint)
        return WholeAnswer(received, *counted)
    try:
        answer = orjson.loads(received)
    except orjson.JSONDecodeError:
        raise _nonsense() from None
    if not isinstance(answer, dict):
        raise _nonsense()
    error = answer.get("error")
    if error:
        described = error if isinstance(error, dict) else {}
        raise AttemptFailedError(from_object(described, status=502), is_servers=True)
    if not isinstance(answer.get(endpoint.results), list | str | int):
        raise _nonsense()
    count = TokenCount() if endpoint.is_free else reported(answer.get("usage"))
    is_estimated = count is None
    if count is None:
        count = TokenCount(likely_prompt, sum(estimated_output(len(text), 1) for text in _texts(answer)))
    elif (written := _written(answer, count)) is not None:
        count = replace(count, completion_tokens=written)
        is_estimated = True
    is_changed = is_estimated and endpoint.fills_in
    if is_changed:
        answer["usage"] = as_usage(count)
    if answer.get("model") != model and (endpoint.fills_in or "model" in answer):
        answer["model"] = model
        is_changed = True
    return WholeAnswer(orjson.dumps(answer) if is_changed else received, count, is_estimated)


def _nonsense() -> AttemptFailedError:
    return AttemptFailedError(UpstreamError("The model's server sent something that makes no sense."), elsewhere=True)


def _texts(answer: dict[str, Any]) -> list[str]:
    """The texts of an answer, each choice's, item's or part's own."""
    texts = [answer["text"]] if isinstance(answer.get("text"), str) else []
    for written in (answer.get(name) for name in ("choices", "output", "content")):
        for entry in written if isinstance(written, list) else ():
            texts += [text for text in _texts_in(entry) if isinstance(text, str) and text]
    return texts


def _texts_in(entry: Any) -> Iterator[Any]:
    if not isinstance(entry, dict):
        return
    for name in ("text", "content", "reasoning_content", "thinking", "arguments"):
        value = entry.get(name)
        if isinstance(value, list):
            for part in value:
                yield from _texts_in(part)
        else:
            yield value
    yield from called_with(entry)
    yield from _texts_in(entry.get("message"))


def _written(answer: dict[str, Any], count: TokenCount) -> int | None:
    """The tokens of several choices where the server counted too few: llama.cpp counts one of them only."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) < 2:
        return None
    texts = _texts(answer)
    if count.completion_tokens >= sum(estimated_output(len(text), 1) for text in texts):
        return None
    return sum(map(likely_tokens, texts))


def _check_large(received: bytearray, endpoint: Endpoint) -> None:
    edges = (received[:EDGE_BYTES], received[-EDGE_BYTES:])
    is_whole = edges[0].lstrip()[:1] == b"{" and edges[1].rstrip()[-1:] == b"}"
    results = re.compile(rb'(?<!\\)"' + endpoint.results.encode() + rb'"\s*:\s*["\[]')
    if not is_whole or not any(results.search(edge) for edge in edges):
        raise _nonsense()


def _counted(
    received: bytearray, endpoint: Endpoint, choices: int, asked_output: int | None, likely_prompt: int
) -> tuple[TokenCount, bool]:
    """The count of a large answer, which is written into it if it lacks one that it should have; whether it is ours."""
    told = _own(USAGE, received)
    count = reported(orjson.loads(told[1])) if told is not None else None
    place = told.span(1) if told is not None else None
    # A match holds on to the bytes, which could not grow.
    del told
    if count is None:
        written = _written_at_most(received, endpoint, choices)
        if asked_output is not None:
            written = min(written, choices * asked_output)
        count = TokenCount(likely_prompt, written)
        if endpoint.fills_in:
            _put(received, place, "usage", as_usage(count))
        return count, True
    if choices > 1 and (marks := received.count(TOKEN_MARK)) > count.completion_tokens:
        return replace(count, completion_tokens=marks), True
    return count, False


def _written_at_most(received: bytearray, endpoint: Endpoint, choices: int) -> int:
    """The tokens of an answer that nobody counted: what its caller had it repeat is not told from what is new."""
    if endpoint.results == "text":
        heard = HEARD.search(received)
        return estimated_output(len(heard[1]), 1) if heard is not None else 0
    if not endpoint.output_limits:
        return 0
    marks = received.count(TOKEN_MARK)
    return marks if marks > choices else estimated_output(len(received), 1)


def _own(field: re.Pattern[bytes], received: bytearray) -> re.Match[bytes] | None:
    """Where a field of the answer itself is in its edges. Tools that it repeats, or calls, may have one of that name.

    A field is the answer's own if what stands before or behind it, made an object, is JSON: else a bracket is left.
    """
    end = len(received) - EDGE_BYTES
    for match in reversed(list(field.finditer(received, end))[-MOST_TRIED:]):
        if _is_object(b"{" + received[match.start() :]):
            return match
    for match in islice(field.finditer(received, 0, EDGE_BYTES), MOST_TRIED):
        if _is_object(received[: match.end()] + b"}"):
            return match
    return None


def _is_object(text: bytes | bytearray) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _rename(received: bytearray, model: str, endpoint: Endpoint) -> None:
    match = _own(MODEL, received)
    place = match.span(1) if match is not None else None
    del match
    if place is not None or endpoint.fills_in:
        _put(received, place, "model", model)


def _put(received: bytearray, place: tuple[int, int] | None, field: str, value: Any) -> None:
    """Write a field of the answer, at its place if it has one: a copy of twenty megabytes takes as long as parsing two.

    There are others before it at the end, for there are results.
    """
    if place is not None:
        received[slice(*place)] = orjson.dumps(value)
        return
    end = received.rindex(b"}")
    received[end:end] = b"," + orjson.dumps({field: value})[1:-1]

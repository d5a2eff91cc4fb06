"""Answers that are not streamed: what they count to, and what must change in them before the client gets them.

A large one is not parsed: that would keep every other call waiting. What matters stands near its beginning or its end,
for the bulk is the results between, and inside a text no quote is bare: a field found by its quotes is a field.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from common.errors import UpstreamError
from inference.counting import TokenCount, as_usage, estimated_output, likely_tokens, reported
from inference.endpoints import Endpoint
from inference.failures import AttemptFailedError, from_object

LARGEST_PARSED_BYTES = 1024 * 1024
EDGE_BYTES = 64 * 1024
USAGE = re.compile(rb'(?<!\\)"usage"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
MODEL = re.compile(rb'(?<!\\)"model"\s*:\s*("(?:[^"\\]|\\.)*")')
# Each token of an answer with log probabilities has one.
TOKEN_MARK = b'"top_logprobs":'


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer as the client gets it. `is_estimated`: the count is ours, not the server's."""

    body: bytes | bytearray
    count: TokenCount
    is_estimated: bool


def whole_answer(
    received: bytearray, *, endpoint: Endpoint, model: str, choices: int, likely_prompt: int
) -> WholeAnswer:
    """What a server's answer is to the client: under the name `model`, with a count. Bytes change only if they must.

    Those of a large answer change in `received` itself. `choices` is how many were asked for. Raises AttemptFailedError
    when it is no such answer.
    """
    if len(received) > LARGEST_PARSED_BYTES:
        return _scanned(received, endpoint=endpoint, model=model, choices=choices, likely_prompt=likely_prompt)
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
    if not isinstance(answer.get(endpoint.results), list | str):
        raise _nonsense()
    count = reported(answer.get("usage"))
    is_estimated = count is None
    if count is None:
        count = TokenCount(likely_prompt, sum(estimated_output(len(text), 1) for text in _texts(answer)))
    elif (written := _written(answer, count)) is not None:
        count = TokenCount(count.prompt_tokens, written, count.cached_tokens)
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
    yield from _texts_in(entry.get("message"))


def _written(answer: dict[str, Any], count: TokenCount) -> int | None:
    """The tokens of several choices where the server counted too few: llama.cpp counts one of them only."""
    if len(answer.get("choices") or []) < 2:
        return None
    texts = _texts(answer)
    if count.completion_tokens >= sum(estimated_output(len(text), 1) for text in texts):
        return None
    return sum(map(likely_tokens, texts))


def _scanned(received: bytearray, *, endpoint: Endpoint, model: str, choices: int, likely_prompt: int) -> WholeAnswer:
    edges = (received[:EDGE_BYTES], received[-EDGE_BYTES:])
    is_whole = edges[0].lstrip()[:1] == b"{" and edges[1].rstrip()[-1:] == b"}"
    listed = re.compile(rb'(?<!\\)"' + endpoint.results.encode() + rb'"\s*:\s*\[')
    if not is_whole or not any(listed.search(edge) for edge in edges):
        raise _nonsense()
    count = next((count for edge in reversed(edges) if (count := _usage_in(edge)) is not None), None)
    is_estimated = count is None
    if count is None:
        count = TokenCount(likely_prompt, received.count(TOKEN_MARK) if endpoint.results == "choices" else 0)
        if endpoint.fills_in:
            end = received.rindex(b"}")
            received[end:] = b',"usage":' + orjson.dumps(as_usage(count)) + b"}"
    elif choices > 1 and (written := received.count(TOKEN_MARK)) > count.completion_tokens:
        count = TokenCount(count.prompt_tokens, written, count.cached_tokens)
        is_estimated = True
    _rename(received, model)
    return WholeAnswer(received, count, is_estimated)


def _usage_in(edge: bytearray) -> TokenCount | None:
    # The last one: what a client called so itself, in tools that some servers repeat, stands before it.
    for match in reversed(list(USAGE.finditer(edge))):
        with suppress(orjson.JSONDecodeError):
            if (count := reported(orjson.loads(match[1]))) is not None:
                return count
    return None


def _rename(received: bytearray, model: str) -> None:
    for start in (0, len(received) - EDGE_BYTES):
        match = MODEL.search(received, start, start + EDGE_BYTES)
        if match is not None:
            # In its place: a copy of twenty megabytes takes as long as parsing two.
            place = match.span(1)
            del match
            received[slice(*place)] = orjson.dumps(model)
            return

"""Server-sent events from an inference server, made into the stream that OpenAI's clients expect.

Bytes go through as they came. A chunk is written anew only where it must differ: another model name, or its `usage`.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from common.errors import UpstreamError
from inference.counting import TokenCount, as_usage, estimated_output, from_timings, reported
from inference.failures import mid_stream

LONGEST_EVENT_BYTES = 4 * 1024 * 1024
DONE = b"data: [DONE]\n\n"


class EventSplitter:
    """Cuts a byte stream into the data of its events, however the reads fall. An event may be megabytes long."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._ends_in_cr = False

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The data of every event that `received` completes.

        Raises UpstreamError for an event past any sense, and for llama.cpp's `error:` lines.
        """
        if self._ends_in_cr:
            received = b"\r" + received
        self._ends_in_cr = received.endswith(b"\r")
        if self._ends_in_cr:
            received = received[:-1]
        if b"\r" in received:
            # No JSON has a bare carriage return in it, so line ends are all that this can change.
            received = received.replace(b"\r\n", b"\n")
        buffer = self._buffer
        buffer += received
        start = 0
        while (end := buffer.find(b"\n\n", max(start, self._searched))) >= 0:
            data = _data(bytes(buffer[start:end]))
            start = end + 2
            self._searched = start
            if data:
                yield data
        if start:
            del buffer[:start]
        self._searched = max(0, len(buffer) - 1)
        if len(buffer) > LONGEST_EVENT_BYTES:
            raise UpstreamError()

    def rest(self) -> bytes:
        """The data of a last event that the server did not end with an empty line; empty when there is none."""
        return _data(bytes(self._buffer).rstrip())


def _data(event: bytes) -> bytes:
    event = event.lstrip(b"\n")
    if event.startswith(b"data:") and b"\n" not in event:
        return event[5:].lstrip()
    lines = []
    for line in event.split(b"\n"):
        if line.startswith(b"data:"):
            lines.append(line[5:].lstrip())
        elif line.startswith(b"error:"):
            raise mid_stream(_json_or_none(line[6:]))
    return b"\n".join(lines)


def _json_or_none(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


class ChatStream:
    """One streamed chat answer on its way through: what the client gets of it, and what it counts to.

    The server is always asked for usage; the client sees it only if it asked, and then as OpenAI gives it: null on
    every chunk and one chunk with no choices before the end.
    """

    def __init__(self, *, model: str, wants_usage: bool, wants_timings: bool = False) -> None:
        self._model = model
        self._wants_usage = wants_usage
        self._wants_timings = wants_timings
        self._pieces = 0
        self._characters = 0
        self._head: dict[str, Any] = {}
        self._usage: Any = None
        self.counted: TokenCount | None = None
        self.is_done = False
        self.is_finished = False
        self._has_several = False
        self._is_last_count = False

    def take(self, data: bytes) -> bytes:
        """The frame to send for one event of the server; empty when there is nothing to send.

        Raises UpstreamError, or what `failures.mid_stream` makes of it, when the event is an error or no chunk at all.
        """
        if data == b"[DONE]":
            self.is_done = True
            return b""
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise UpstreamError("The model's server sent something that is not JSON.") from None
        if not isinstance(chunk, dict) or "error" in chunk or chunk.get("object") == "error":
            error = chunk.get("error", chunk) if isinstance(chunk, dict) else None
            raise mid_stream(error)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            raise UpstreamError("The model's server sent something that is no chunk of an answer.")
        return self._frame(chunk, choices, data)

    def _frame(self, chunk: dict[str, Any], choices: list[Any], data: bytes) -> bytes:
        for choice in choices:
            self._count(choice)
        usage = chunk.get("usage")
        if usage is not None and (count := reported(usage)) is not None:
            self.counted = count
            self._usage = usage
            # vLLM's continuous counts come with the text; the last one comes without a choice or with the finish.
            self._is_last_count = not choices or self.is_finished
        elif (count := from_timings(chunk.get("timings"))) is not None:
            self.counted = count
        if not choices and usage is not None:
            return b""
        is_changed = False
        if "timings" in chunk and not self.is_finished and not self._wants_timings:
            # Asked for on our account; without that, llama.cpp sends them at the end only.
            del chunk["timings"]
            is_changed = True
        if chunk.get("model") != self._model:
            chunk["model"] = self._model
            is_changed = True
        if self._wants_usage:
            if usage is not None or "usage" not in chunk:
                chunk["usage"] = None
                is_changed = True
        elif "usage" in chunk:
            del chunk["usage"]
            is_changed = True
        if not self._head:
            self._head = {name: chunk.get(name) for name in ("id", "created")}
        return b"data: " + (orjson.dumps(chunk) if is_changed else data) + b"\n\n"

    def _count(self, choice: Any) -> None:
        if not isinstance(choice, dict):
            return
        if choice.get("finish_reason") is not None:
            self.is_finished = True
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return
        if choice.get("index") not in (0, None):
            self._has_several = True
        texts = [text for name in ("content", "refusal") if isinstance(text := delta.get(name), str)]
        # vLLM sends a thought under both names.
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            texts.append(thought)
        characters = sum(map(len, texts))
        self._characters += characters
        if characters or delta.get("tool_calls"):
            self._pieces += 1

    @property
    def has_content(self) -> bool:
        """Whether a word of the answer came, as opposed to the empty chunk that names the role."""
        return self._pieces > 0

    @property
    def has_final_count(self) -> bool:
        """Whether the server counted all that it sent: llama.cpp counts one of several answers only."""
        if self.counted is None or not self._is_last_count:
            return False
        return not self._has_several or self.counted.completion_tokens >= self._pieces

    def count(self, *, likely_prompt: int) -> TokenCount:
        """The tokens so far: the server's own count where it gave one, else what came, whichever is more."""
        pieces = estimated_output(self._characters, self._pieces)
        if self.counted is None:
            return TokenCount(prompt_tokens=likely_prompt, completion_tokens=pieces)
        if self.has_final_count or self.counted.completion_tokens >= pieces:
            return self.counted
        return TokenCount(self.counted.prompt_tokens, pieces, self.counted.cached_tokens)

    def ending(self, *, likely_prompt: int) -> bytes:
        """The last frames of an answer that came whole."""
        if not self._wants_usage:
            return DONE
        usage = self._usage if self.has_final_count else as_usage(self.count(likely_prompt=likely_prompt))
        last = {**self._head, "object": "chat.completion.chunk", "model": self._model, "choices": [], "usage": usage}
        return b"data: " + orjson.dumps(last) + b"\n\n" + DONE


def error_frame(body: dict[str, Any]) -> bytes:
    """The frame that ends a stream which failed: OpenAI's SDKs raise APIError on it."""
    return b"data: " + orjson.dumps(body) + b"\n\n"

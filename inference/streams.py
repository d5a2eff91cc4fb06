"""Server-sent events from an inference server, made into the stream that clients of an API expect.

Bytes go through as they came. An event is written anew only where it must differ: another model name, or its `usage`.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import orjson

from common.errors import ApiError, UpstreamError
from inference.counting import TokenCount, as_usage, called_with, estimated_output, from_timings, reported
from inference.failures import mid_stream
from inference.shapes import anthropic_error, event, json_event

LONGEST_EVENT_BYTES = 4 * 1024 * 1024
DONE = b"data: [DONE]\n\n"
EVENT_TYPE = re.compile(r"[A-Za-z0-9_.]{1,100}")


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


class AnswerStream:
    """One streamed answer on its way through: what the client gets of it, and what it counts to."""

    is_told_to_count: ClassVar[bool] = False
    """Whether a server sends usage only when `stream_options` ask for it."""
    is_optional: ClassVar[bool] = False
    """Whether good servers may answer whole all the same."""

    def __init__(self, *, model: str, wants_usage: bool, wants_timings: bool = False) -> None:
        self._model = model
        self._wants_usage = wants_usage
        self._wants_timings = wants_timings
        self._pieces = 0
        self._characters = 0
        self._is_last_count = False
        self.counted: TokenCount | None = None
        self.is_done = False
        self.is_finished = False

    def take(self, data: bytes) -> bytes:
        """The frame to send for one event of the server; empty when there is nothing to send.

        Raises UpstreamError, or what `failures.mid_stream` makes of it, when the event is an error or none at all.
        """
        raise NotImplementedError

    def ending(self, *, likely_prompt: int) -> bytes:
        """The last frames of an answer that came whole."""
        raise NotImplementedError

    def failure(self, error: ApiError) -> bytes:
        """The frame that ends a stream which failed: SDKs raise an error on it."""
        return json_event(error.body())

    @property
    def has_content(self) -> bool:
        """Whether a word of the answer came, as opposed to what only opens it."""
        return self._pieces > 0

    @property
    def has_final_count(self) -> bool:
        """Whether the server counted all that it sent."""
        return self.counted is not None and self._is_last_count

    def count(self, *, likely_prompt: int) -> TokenCount:
        """The tokens so far: the server's own count where it gave one, else what came, whichever is more."""
        pieces = estimated_output(self._characters, self._pieces)
        if self.counted is None:
            return TokenCount(prompt_tokens=likely_prompt, completion_tokens=pieces)
        if self.has_final_count or self.counted.completion_tokens >= pieces:
            return self.counted
        return replace(self.counted, completion_tokens=pieces)

    def _parsed(self, data: bytes) -> dict[str, Any]:
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise UpstreamError("The model's server sent something that is not JSON.") from None
        if not isinstance(found, dict) or found.get("error") or found.get("object") == "error":
            error = found.get("error", found) if isinstance(found, dict) else None
            raise mid_stream(error)
        return found


class ChatStream(AnswerStream):
    """The chunks of a chat, or of a completion.

    The server is always asked for usage; the client sees it only if it asked, and then as OpenAI gives it: null on
    every chunk and one chunk with no choices before the end.
    """

    is_told_to_count = True

    def __init__(self, *, model: str, wants_usage: bool, wants_timings: bool = False) -> None:
        super().__init__(model=model, wants_usage=wants_usage, wants_timings=wants_timings)
        self._head: dict[str, Any] = {}
        self._usage: Any = None
        self._has_several = False

    def take(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            self.is_done = True
            return b""
        chunk = self._parsed(data)
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
            self._head = {name: chunk.get(name) for name in ("id", "object", "created")}
        return event(orjson.dumps(chunk) if is_changed else data)

    def _count(self, choice: Any) -> None:
        if not isinstance(choice, dict):
            return
        if choice.get("finish_reason") is not None:
            self.is_finished = True
        # A completion has its text in the choice itself.
        delta = choice.get("delta", choice)
        if not isinstance(delta, dict):
            return
        if choice.get("index") not in (0, None):
            self._has_several = True
        texts = [text for name in ("content", "refusal", "text") if isinstance(text := delta.get(name), str)]
        # vLLM sends a thought under both names.
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            texts.append(thought)
        characters = sum(map(len, (*texts, *called_with(delta))))
        self._characters += characters
        if characters or delta.get("tool_calls"):
            self._pieces += 1

    @property
    def has_final_count(self) -> bool:
        """Whether the server counted all that it sent: llama.cpp counts one of several answers only."""
        if self.counted is None or not self._is_last_count:
            return False
        return not self._has_several or self.counted.completion_tokens >= self._pieces

    def ending(self, *, likely_prompt: int) -> bytes:
        if not self._wants_usage:
            return DONE
        usage = self._usage if self.has_final_count else as_usage(self.count(likely_prompt=likely_prompt))
        return json_event({**self._head, "model": self._model, "choices": [], "usage": usage}) + DONE


class _TypedStream(AnswerStream):
    """Events that each say their `type`, and of which the last is one of a certain type."""

    holder: ClassVar[str]
    """The field with the object that the stream is about; its first event has the model's name in it."""
    endings: ClassVar[frozenset[str]]
    counts: ClassVar[frozenset[str]]
    """The events with the count of all that was sent."""

    def __init__(self, *, model: str, wants_usage: bool, wants_timings: bool = False) -> None:
        super().__init__(model=model, wants_usage=wants_usage, wants_timings=wants_timings)
        self._usage: dict[str, Any] = {}

    def take(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            # Some servers end every stream so; what these streams end with came before.
            return b""
        return self._frame(self._parsed(data), data)

    def _frame(self, found: dict[str, Any], data: bytes) -> bytes:
        kind = found.get("type")
        if not isinstance(kind, str) or not EVENT_TYPE.fullmatch(kind):
            raise UpstreamError("The model's server sent an event that does not say what it is.")
        if kind == "error":
            raise mid_stream(found)
        held = found.get(self.holder)
        held = held if isinstance(held, dict) else {}
        self._check(held)
        if kind not in self.counts:
            # Anthropic calls the reason why an answer ends a delta as well.
            self._count(found.get("delta"))
        self._note(kind, found.get("usage") or held.get("usage"))
        if kind in self.endings:
            self.is_done = self.is_finished = True
        if "model" in held and held["model"] != self._model:
            held["model"] = self._model
            data = orjson.dumps(found)
        return event(data, kind=kind)

    def ending(self, *, likely_prompt: int) -> bytes:
        return b""

    def _check(self, held: dict[str, Any]) -> None:
        """Raise what `failures.mid_stream` makes of a failure that the object itself tells."""

    def _note(self, kind: str, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        self._usage |= {name: value for name, value in usage.items() if value is not None}
        self.counted = reported(self._usage)
        self._is_last_count = self._is_last_count or kind in self.counts

    def _count(self, delta: Any) -> None:
        texts = delta.values() if isinstance(delta, dict) else [delta]
        characters = sum(len(text) for text in texts if isinstance(text, str))
        if isinstance(delta, dict):
            characters -= len(str(delta.get("type") or ""))
        if characters > 0:
            self._characters += characters
            self._pieces += 1


class ResponseStream(_TypedStream):
    """The events of OpenAI's Responses API."""

    holder = "response"
    endings = frozenset({"response.completed", "response.incomplete"})
    counts = endings

    _next_number = 0

    def take(self, data: bytes) -> bytes:
        frame = super().take(data)
        self._next_number += 1
        return frame

    def failure(self, error: ApiError) -> bytes:
        told = {"code": error.code or error.kind, "message": error.message, "param": error.param}
        return json_event({"type": "error", **told, "sequence_number": self._next_number}, kind="error")

    def _check(self, held: dict[str, Any]) -> None:
        if held.get("status") == "failed" or held.get("error"):
            raise mid_stream(held.get("error"))


class MessageStream(_TypedStream):
    """The events of Anthropic's Messages API. Its first event counts the prompt, its last but one the answer."""

    holder = "message"
    endings = frozenset({"message_stop"})
    counts = frozenset({"message_delta"})

    def failure(self, error: ApiError) -> bytes:
        return json_event(anthropic_error(error), kind="error")


class TranscriptStream(_TypedStream):
    """The events of a transcript. vLLM and SGLang send chunks like those of a chat, which are made into such events."""

    is_optional = True
    holder = ""
    endings = frozenset({"transcript.text.done"})
    counts = endings

    def __init__(self, *, model: str, wants_usage: bool, wants_timings: bool = False) -> None:
        super().__init__(model=model, wants_usage=wants_usage, wants_timings=wants_timings)
        self._comes_in_chunks = False
        self._heard: list[str] = []

    def take(self, data: bytes) -> bytes:
        if data == b"[DONE]" and self._comes_in_chunks:
            self.is_done = True
        return super().take(data)

    def _frame(self, found: dict[str, Any], data: bytes) -> bytes:
        choices = found.get("choices")
        if not isinstance(choices, list):
            return super()._frame(found, data)
        self._comes_in_chunks = True
        if (count := reported(found.get("usage"))) is not None:
            self.counted, self._is_last_count = count, not choices
        deltas = [choice.get("delta") for choice in choices if isinstance(choice, dict)]
        texts = [delta.get("content") for delta in deltas if isinstance(delta, dict)]
        text = "".join(text for text in texts if isinstance(text, str))
        if not text:
            return b""
        self._heard.append(text)
        self._count(text)
        return _event_of({"type": "transcript.text.delta", "delta": text})

    def ending(self, *, likely_prompt: int) -> bytes:
        if not self._comes_in_chunks:
            return b""
        done: dict[str, Any] = {"type": "transcript.text.done", "text": "".join(self._heard)}
        if self.counted is not None and self.has_final_count:
            read, written = self.counted.prompt_tokens, self.counted.completion_tokens
            total = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
            done["usage"] = {"type": "tokens", **total}
        return _event_of(done)


def _event_of(content: dict[str, Any]) -> bytes:
    return json_event(content, kind=content["type"])

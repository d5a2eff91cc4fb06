"""An inference server that does as it is told, over real HTTP, and keeps a ledger of what it sent.

A request says how it is to be served in a field `fake` of its body (the gateway passes unknown fields on):

    tokens, rate          how many tokens to answer with, and how many a second (default: at once)
    prompt_tokens         what to report as the prompt's count; `cached_tokens`: how much of it was cached
    status, body, retry_after   answer with this status, and this body
    slow_headers          seconds before anything is sent
    held                  send nothing before `FakeInferenceServer.release` is called
    slow_events           seconds between the headers of a stream and its first event
    die_after             cut the connection after so many tokens, or bytes of speech
    stall_after           send so many tokens, or bytes of speech, then nothing more
    error_after           send so many tokens, then an error as vLLM does; `error_line`: as llama.cpp does
    word                  what each token says, if not “word”
    slow_done             seconds between the count and the end of a stream
    no_usage, no_done     leave out the count; leave out the end of the stream
    usage_at_finish       report the count on the last chunk with a choice, as Ollama does
    bad_json, wrong_type  nonsense instead of JSON; HTML instead of what was asked for
    name                  call the model so
    chunks                stream these, as they are, and the end
    whole                 do not stream, though asked to
    padding               make an answer that is not streamed longer by so many characters
    stamped               each piece of a stream is the time it was sent at, by `time.monotonic`, as `@12345.678901@`
    cut, crlf             write in pieces of so many bytes; end lines as Windows does
    tool_call             call this tool with these arguments, `[name, arguments]`, when it is offered and was not yet
    structured            answer with this JSON when a JSON schema is asked for

Clients that cannot send such a field name a model that the server was given a script for.

As a process: `python -m tests.fakes.inference_server --port 9000`; `GET /ledger` gives the totals. With `--keep-calls`
`GET /calls` gives what was sent to each call. `--scripts` is JSON, and the models that it names are offered beside the
others.
"""

import argparse
import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self, cast

import httptools
import orjson

from tests.fakes import apis

MODELS = ("fake-chat", "fake-embed")
WORD = "word "
# By the name of a model: what its requests say in `fake` where they do not say it themselves.
Scripts = Mapping[str, dict[str, Any]]


@dataclass
class Entry:
    """One request as the server saw it."""

    path: str
    body: dict[str, Any]
    authorization: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    sent_tokens: int = 0
    opened_at: float = field(default_factory=time.monotonic)
    closed_at: float | None = None
    closed_by: str = ""

    def served(self) -> dict[str, Any]:
        """What the call was sent, and who made it."""
        return {
            "caller": self.body.get("user", ""),
            "path": self.path,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "sent_tokens": self.sent_tokens,
            "closed_by": self.closed_by,
        }


@dataclass
class Ledger:
    """Everything the server was asked. `entries` is left empty by a server that is measured."""

    keeps_entries: bool = True
    requests: int = 0
    prompt_tokens: int = 0
    sent_tokens: int = 0
    entries: list[Entry] = field(default_factory=list)

    def open(self, entry: Entry) -> None:
        self.requests += 1
        if self.keeps_entries:
            self.entries.append(entry)

    def close(self, entry: Entry, by: str) -> None:
        if entry.closed_at is None:
            entry.closed_at, entry.closed_by = time.monotonic(), by
            self.prompt_tokens += entry.prompt_tokens
            self.sent_tokens += entry.sent_tokens


class Connection(asyncio.Protocol):
    """One client's connection. What needs no waiting is answered without a task."""

    def __init__(self, ledger: Ledger, scripts: Scripts, models: Sequence[str] = MODELS) -> None:
        self._ledger = ledger
        self._scripts = scripts
        self._models = models
        self._task: asyncio.Task[None] | None = None
        self._entry: Entry | None = None
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._release = asyncio.Event()

    def pause_writing(self) -> None:
        self._has_room.clear()

    def resume_writing(self) -> None:
        self._has_room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._entry is not None:
            self._ledger.close(self._entry, "client")
        if self._task is not None:
            self._task.cancel()

    def cut(self) -> None:
        """End the connection without a word."""
        self._transport.abort()

    def on_message_begin(self) -> None:
        self._path = ""
        self._authorization = self._content_type = ""
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._path = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self._authorization = value.decode("latin-1")
        elif name.lower() == b"content-type":
            self._content_type = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._path == "/v1/models":
            entries = [{"id": name, "object": "model", "created": 1, "owned_by": "fake"} for name in self._models]
            self._send(200, orjson.dumps({"object": "list", "data": entries}))
            return
        if self._path == "/ledger":
            totals = asdict(self._ledger)
            self._send(200, orjson.dumps({name: totals[name] for name in ("requests", "prompt_tokens", "sent_tokens")}))
            return
        if self._path == "/calls":
            self._send(200, orjson.dumps([entry.served() for entry in self._ledger.entries]))
            return
        if not self._body:
            self._send(404, orjson.dumps({"error": {"message": "Not Found", "code": 404}}))
            return
        is_form = self._content_type.startswith("multipart/")
        body = apis.form_fields(self._content_type, self._body) if is_form else orjson.loads(self._body)
        is_embedding, is_chat = self._path.endswith("/embeddings"), self._path.endswith("/chat/completions")
        if (is_embedding or is_chat) and ("embed" in body["model"]) is not is_embedding:
            self._send(400, orjson.dumps({"error": {"message": "This model does not do that.", "code": 400}}))
            return
        fake: dict[str, Any] = {**self._scripts.get(body["model"], {}), **(body.get("fake") or {})}
        # Counting the words of a megabyte takes longer than all else that is done for it.
        prompt_tokens = fake["prompt_tokens"] if "prompt_tokens" in fake else _prompt_tokens(body)
        entry = Entry(self._path, body, self._authorization, prompt_tokens, fake.get("cached_tokens", 0))
        self._entry = entry
        self._ledger.open(entry)
        if _is_streamed(body) or fake.get("slow_headers") or fake.get("held"):
            self._task = asyncio.get_running_loop().create_task(self._serve(entry, fake))
        else:
            self._answer(entry, fake)

    async def _serve(self, entry: Entry, fake: dict[str, Any]) -> None:
        if fake.get("slow_headers"):
            await asyncio.sleep(fake["slow_headers"])
        if fake.get("held"):
            await self._release.wait()
        if _is_streamed(entry.body) and not ({"status", "wrong_type", "whole"} & fake.keys()):
            await self._stream(entry, fake)
        else:
            self._answer(entry, fake)

    def _answer(self, entry: Entry, fake: dict[str, Any]) -> None:
        if entry.path.endswith("/audio/speech") and {"die_after", "stall_after"} & fake.keys():
            self._send(200, apis.AUDIO, content_type="audio/mpeg", only=fake.get("die_after", fake.get("stall_after")))
            if "die_after" in fake:
                self._die(entry)
            return
        if "die_after" in fake:
            self._die(entry)
        elif "status" in fake:
            answer = fake.get("body", {"error": {"message": "as told", "type": "x", "code": None, "param": None}})
            raw = answer.encode() if isinstance(answer, str) else orjson.dumps(answer)
            self._send(fake["status"], raw, retry_after=fake.get("retry_after"))
        elif fake.get("wrong_type"):
            self._send(200, b"<html><body>Welcome to nginx!</body></html>", content_type="text/html")
        elif fake.get("bad_json"):
            self._send(200, b'{"id": "chatcmpl-1", "choices": [')
        elif entry.body.get("response_format") in ("text", "srt", "vtt"):
            entry.sent_tokens = _tokens(entry.body, fake)
            self._send(200, (WORD * entry.sent_tokens).encode(), content_type="text/plain; charset=utf-8")
        elif entry.path.endswith("/audio/speech"):
            self._send(200, apis.AUDIO, content_type="audio/mpeg")
        else:
            self._send(200, orjson.dumps(_whole(entry, fake)))
        self._ledger.close(entry, "done")

    async def _stream(self, entry: Entry, fake: dict[str, Any]) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self._transport.write(head)
        if fake.get("slow_events"):
            await asyncio.sleep(fake["slow_events"])
        if "chunks" in fake:
            for chunk in fake["chunks"]:
                await self._event(fake, orjson.dumps(chunk))
            await self._event(fake, b"[DONE]")
        else:
            await (self._typed_events if entry.path.endswith(apis.TYPED) else self._chunks)(entry, fake)
        if entry.closed_at is None:
            self._transport.write(b"0\r\n\r\n")
            self._ledger.close(entry, "done")

    async def _chunks(self, entry: Entry, fake: dict[str, Any]) -> None:
        deltas, finish = _deltas(entry.body, fake)
        options = entry.body.get("stream_options") or {}
        continuous = options.get("continuous_usage_stats") and not fake.get("no_usage")
        counted = options.get("include_usage") and not fake.get("no_usage")
        pause = 1 / fake["rate"] if fake.get("rate") else 0
        await self._event(fake, _chunk(entry, fake, {"role": "assistant", "content": ""}, None, continuous))
        for number, delta in enumerate(deltas):
            if number == fake.get("die_after"):
                self._die(entry)
                return
            if number == fake.get("stall_after"):
                await asyncio.sleep(3600)
            if number == fake.get("error_after"):
                await self._break(fake)
                return
            if pause:
                await asyncio.sleep(pause)
            if fake.get("stamped"):
                delta["content"] = f"@{time.monotonic():.6f}@"
            entry.sent_tokens += 1
            await self._event(fake, _chunk(entry, fake, delta, None, continuous))
        at_finish = counted and fake.get("usage_at_finish")
        await self._event(fake, _chunk(entry, fake, {}, finish, continuous or at_finish))
        if counted and not at_finish:
            last = _chunk(entry, fake, None, None, counted)
            await self._event(fake, last)
        if fake.get("slow_done"):
            await asyncio.sleep(fake["slow_done"])
        if not fake.get("no_done"):
            await self._event(fake, b"[DONE]")

    async def _typed_events(self, entry: Entry, fake: dict[str, Any]) -> None:
        model, total = fake.get("name", entry.body["model"]), _tokens(entry.body, fake)
        called = _tool_call(entry.body, fake)
        told = apis.events(entry.path, model=model, prompt_tokens=entry.prompt_tokens, tokens=total, called=called)
        for number, (content, is_token) in enumerate(told):
            if is_token and entry.sent_tokens == fake.get("die_after"):
                self._die(entry)
                return
            if is_token and entry.sent_tokens == fake.get("error_after"):
                error = {"type": "error", "error": {"type": "x", "message": "CUDA error at http://10.0.0.7:8000"}}
                await self._write(fake, b"event: error\ndata: " + orjson.dumps(error) + b"\n\n")
                return
            if is_token and fake.get("rate"):
                await asyncio.sleep(1 / fake["rate"])
            entry.sent_tokens += is_token
            numbered = content | ({"sequence_number": number} if entry.path.endswith("/responses") else {})
            frame = f"event: {content['type']}\n".encode() + b"data: " + orjson.dumps(numbered) + b"\n\n"
            await self._write(fake, frame)

    async def _break(self, fake: dict[str, Any]) -> None:
        error = {"message": "CUDA error at http://10.0.0.7:8000, 0x7f00", "type": "InternalServerError", "code": 500}
        if fake.get("error_line"):
            await self._write(fake, b"error: " + orjson.dumps(error) + b"\n\n")
        else:
            await self._event(fake, orjson.dumps({"error": error}))

    async def _event(self, fake: dict[str, Any], data: bytes) -> None:
        if fake.get("bad_json") and data != b"[DONE]":
            data = data[:-2]
        end = b"\r\n\r\n" if fake.get("crlf") else b"\n\n"
        await self._write(fake, b"data: " + data + end)

    async def _write(self, fake: dict[str, Any], data: bytes) -> None:
        size = fake.get("cut") or len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            await self._has_room.wait()
            if self._transport.is_closing():
                # Whoever it was for has left, which is told by the loop.
                await asyncio.sleep(0)
            self._transport.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            if size < len(data):
                await asyncio.sleep(0.0005)

    def _send(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        retry_after: str | None = None,
        only: int | None = None,
    ) -> None:
        extra = f"retry-after: {retry_after}\r\n" if retry_after else ""
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{extra}content-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body[:only])

    def _die(self, entry: Entry) -> None:
        self._ledger.close(entry, "died")
        # Closed, not aborted: a reset would take along what was sent before it and not yet read.
        self._transport.close()


def _is_streamed(body: dict[str, Any]) -> bool:
    # What a form says is text.
    return body.get("stream") in (True, "true")


def _tokens(body: dict[str, Any], fake: dict[str, Any]) -> int:
    asked = body.get("max_completion_tokens") or body.get("max_output_tokens") or body.get("max_tokens")
    return int(fake.get("tokens", min(asked or 8, 8)))


def _tool_call(body: dict[str, Any], fake: dict[str, Any]) -> tuple[str, str] | None:
    """The tool to call and its arguments; None when it is not offered, or its result is there."""
    name, arguments = fake.get("tool_call", ("", ""))
    # Anthropic's tools have their names in themselves.
    offered = {tool.get("function", tool).get("name") for tool in body.get("tools") or []}
    if name not in offered:
        return None
    last = body["messages"][-1]
    answered = last["role"] == "tool" or "tool_result" in str(last["content"])
    return None if answered else (name, arguments)


def _text(body: dict[str, Any], fake: dict[str, Any]) -> list[str]:
    """The pieces of the answer in words."""
    if "structured" in fake and (body.get("response_format") or {}).get("type") == "json_schema":
        return re.findall(r".{1,5}", fake["structured"])
    return [fake.get("word", WORD)] * _tokens(body, fake)


def _deltas(body: dict[str, Any], fake: dict[str, Any]) -> tuple[Iterable[dict[str, Any]], str]:
    """The pieces of a streamed answer, and why it ended."""
    call = _tool_call(body, fake)
    if call is None:
        return ({"content": piece} for piece in _text(body, fake)), "stop"
    name, arguments = call
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
    rest = [{"index": 0, "function": {"arguments": piece}} for piece in re.findall(r".{1,5}", arguments)]
    return ({"tool_calls": [piece]} for piece in (first, *rest)), "tool_calls"


def _prompt_tokens(body: dict[str, Any]) -> int:
    texts: list[Any] = [message.get("content") for message in body.get("messages") or []]
    for given in (body.get(name) for name in ("input", "prompt", "query", "documents")):
        texts += given if isinstance(given, list) else [given]
    return sum(len(text.split()) for text in texts if isinstance(text, str))


def _usage(entry: Entry) -> dict[str, Any]:
    return {
        "prompt_tokens": entry.prompt_tokens,
        "completion_tokens": entry.sent_tokens,
        "total_tokens": entry.prompt_tokens + entry.sent_tokens,
        "prompt_tokens_details": {"cached_tokens": entry.cached_tokens},
    }


def _chunk(
    entry: Entry, fake: dict[str, Any], delta: dict[str, Any] | None, finish: str | None, with_usage: Any
) -> bytes:
    is_chat = entry.path.endswith("/chat/completions")
    said = {"delta": delta} if is_chat else {"text": (delta or {}).get("content", "")}
    choices = [] if delta is None else [{"index": 0, **said, "logprobs": None, "finish_reason": finish}]
    chunk = {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk" if is_chat else "text_completion",
        "created": 1,
        "model": fake.get("name", entry.body["model"]),
        "choices": choices,
    }
    if with_usage:
        chunk["usage"] = _usage(entry)
    return orjson.dumps(chunk)


def _whole(entry: Entry, fake: dict[str, Any]) -> dict[str, Any]:
    model = fake.get("name", entry.body["model"])
    tokens = _tokens(entry.body, fake)
    called = _tool_call(entry.body, fake)
    other = apis.whole(
        entry.path, entry.body, model=model, prompt_tokens=entry.prompt_tokens, tokens=tokens, called=called
    )
    if other is not None:
        entry.sent_tokens = tokens if entry.path.endswith(("/completions", *apis.TYPED)) else 0
        usage = _usage(entry) if entry.path.endswith("/completions") and not fake.get("no_usage") else None
        return {**other, "usage": usage} if usage else other
    if entry.path.endswith("/embeddings"):
        given = entry.body["input"]
        texts = given if isinstance(given, list) else [given]
        vector = "AACAPwAAAEA=" if entry.body.get("encoding_format") == "base64" else [1.0, 2.0]
        data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(len(texts))]
        answer = {"object": "list", "model": model, "data": data}
        usage = {"prompt_tokens": entry.prompt_tokens, "total_tokens": entry.prompt_tokens}
    else:
        pieces = _text(entry.body, fake)
        entry.sent_tokens = len(pieces)
        message: dict[str, Any] = {"role": "assistant", "content": "".join(pieces), "refusal": None}
        if called is not None:
            made = {"id": "call_1", "type": "function", "function": {"name": called[0], "arguments": called[1]}}
            message |= {"content": None, "tool_calls": [made]}
        finish = "stop" if called is None else "tool_calls"
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        answer = {"id": "chatcmpl-fake", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
        if fake.get("padding"):
            choice["padding"] = "x" * fake["padding"]
        usage = _usage(entry)
    return answer if fake.get("no_usage") else {**answer, "usage": usage}


class FakeInferenceServer:
    """The server in a thread of the test's process, which can look into its ledger, stop it and start it again."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.scripts: dict[str, dict[str, Any]] = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._connections: set[Connection] = set()
        self._release = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-inference", daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        """Listen on the port, again after `stop`."""
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)

    def stop(self) -> None:
        """Refuse connections and cut those that are open."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(5)

    def release(self) -> None:
        """Answer the calls that have come and are `held`."""

        def let_go() -> None:
            self._release.set()
            self._release.clear()

        self._loop.call_soon_threadsafe(let_go)

    def last(self) -> Entry:
        """The request that came last."""
        return self.ledger.entries[-1]

    async def _start(self) -> None:
        if self._socket.fileno() < 0:
            self._socket = socket.create_server(("127.0.0.1", self.port))
        self._server = await self._loop.create_server(self._connect, sock=self._socket)

    async def _stop(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.cut()
        await asyncio.sleep(0)

    def _connect(self) -> "Connection":
        connection = _Tracked(self.ledger, self.scripts, self._connections, self._release)
        self._connections.add(connection)
        return connection


class _Tracked(Connection):
    def __init__(self, ledger: Ledger, scripts: Scripts, known: set[Connection], release: asyncio.Event) -> None:
        super().__init__(ledger, scripts)
        self._known, self._release = known, release

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._known.discard(self)


async def serve(port: int, scripts: Scripts, *, keeps_calls: bool) -> None:
    """Serve until killed, keeping totals only if nothing else is asked for."""
    ledger, models = Ledger(keeps_entries=keeps_calls), (*MODELS, *scripts)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(ledger, scripts, models), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--scripts", type=orjson.loads, default={})
    parser.add_argument("--keep-calls", action="store_true")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.scripts, keeps_calls=arguments.keep_calls))

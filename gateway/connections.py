"""Connections as uvicorn keeps them, but with an end to its patience: `uvicorn --http gateway.connections:Connection`.

By itself it waits for a request, and for an answer to be read, for as long as the client likes, and holds headers of
any size.
"""

import asyncio
from http import HTTPStatus
from typing import Any, ClassVar, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from common.ids import request_id

STATUS_LINE = b"HTTP/1.1 "
MOST_HEAD_BYTES = 64 * 1024


class _Transport:
    """A transport on which the head of an answer waits for what follows it at once: to send them apart costs twice as
    much, here and at the client."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(STATUS_LINE):
            self._head = data
            self._loop.call_soon(self.send_head)
            return
        self._transport.write(data)

    def close(self) -> None:
        self.send_head()
        self._transport.close()

    def send_head(self) -> None:
        """Send the head that waits, if one does, without what would have followed it."""
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)


class Connection(HttpToolsProtocol):
    """One client's connection."""

    patience_seconds: ClassVar[float] = 20.0
    """How long the head of a request may take, and how often it is looked at whether a body goes on coming."""
    least_bytes: ClassVar[int] = 1024
    """Fewer bytes of a body than this within `patience_seconds` are none."""
    least_body_rate: ClassVar[int] = 8 * 1024
    """Bytes a second that a body comes in on the whole, so that one as large as may be comes to its end."""
    slack_seconds: ClassVar[float] = 60.0
    """How far behind that rate a body may fall."""
    reader_patience_seconds: ClassVar[float] = 60.0
    """How often it is looked at whether a reader goes on taking what waits to be sent."""
    least_bytes_read: ClassVar[int] = 32 * 1024
    """Fewer bytes taken than this within `reader_patience_seconds` are none."""

    _in_head = True
    _is_partial = True
    _is_deaf = False
    _bytes = 0
    _bytes_around_body = 0
    _since = 0.0
    _body_bytes = 0
    _body_since = 0.0
    _timer: asyncio.TimerHandle | None = None
    _unread = 0
    _reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        self._sender = _Transport(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", self._sender))
        self._begin()
        self._wait(self.patience_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._timer, self._reader_timer):
            if timer is not None:
                timer.cancel()

    def eof_received(self) -> None:
        # The connection is closed after this, and what waits with it.
        self._sender.send_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._body_since = self.loop.time()
        answering = self.cycle
        super().on_headers_complete()
        # An answer whose bytes are all sent is over to the client, though the application may have yet to say so.
        is_sent = (
            answering is not None and answering.chunked_encoding is False and not answering.expected_content_length
        )
        if self.pipeline and not is_sent:
            # To keep it waiting would be to read nothing meanwhile, and not to notice that its sender hangs up. Whoever
            # sends a request before the last was answered must expect that it goes unheard, and sends it again.
            self.pipeline.clear()
            self.cycle, self._is_deaf = answering, True
            answering.keep_alive = False
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        if self._is_deaf:
            return
        # What its pieces are wrapped in is not kept; headers that follow the last one are.
        self._bytes_around_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_partial = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if not self._is_partial and self.cycle.response_complete:
            # Empty lines before a request do not begin one, but uvicorn waits no longer once they came.
            self._begin()
        self._bytes_around_body += len(data)
        super().data_received(data)
        if self._is_partial and not self.transport.is_closing():
            self._bytes += len(data)
            self._body_bytes += len(data)
            if self._bytes_around_body > MOST_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers of this request are too large.")
            elif self._timer is None:
                self._wait(self.patience_seconds)

    def _begin(self) -> None:
        self._in_head = self._is_partial = True
        self._bytes = self._body_bytes = self._bytes_around_body = 0
        self._since = self.loop.time()

    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._is_partial or self._is_deaf or self.transport.is_closing():
            return
        # The timer may have been set for an earlier request: one for each would cost more than it is worth.
        rest = self._since + self.patience_seconds - self.loop.time()
        if rest > 0:
            self._wait(rest)
            return
        if self._in_head or self._is_body_late():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "This request did not arrive in time.")
            return
        self._bytes = 0
        self._since = self.loop.time()
        self._wait(self.patience_seconds)

    def _is_body_late(self) -> bool:
        if self.flow.read_paused:
            # What is not read because its reader is busy is not the sender's fault.
            self._body_since += self.patience_seconds
            return False
        seconds = self.loop.time() - self._body_since - self.slack_seconds
        return self._bytes < self.least_bytes or self._body_bytes < seconds * self.least_body_rate

    def pause_writing(self) -> None:
        """More waits to be sent than should: nothing is added until most of it was taken."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reader_timer is not None:
            self._reader_timer.cancel()
        if self.transport.is_closing():
            self._watch_last_bytes()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_last_bytes()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_last_bytes()

    def _watch_last_bytes(self) -> None:
        """A connection is closed once all is sent, which somebody who reads nothing would put off for ever."""
        if self.transport.get_write_buffer_size() and not self.flow.write_paused:
            self._watch_reader()

    def _watch_reader(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(self.reader_patience_seconds, self._look_at_reader)

    def _look_at_reader(self) -> None:
        taken = self._unread - self.transport.get_write_buffer_size()
        if taken < self.least_bytes_read:
            # To the application it is a client that hangs up: its server is hung up on, the call settled.
            self.transport.abort()
        else:
            self._watch_reader()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP as all else is refused: uvicorn would say it in plain text."""
        self._refuse(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP/1.1 request.")

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        """Close. Nothing is said within an answer, nor after the one that this request got."""
        if self._in_head:
            is_heard = self.cycle is None or self.cycle.response_complete
        else:
            is_heard = not self.cycle.response_started
        if is_heard:
            self._say(status, words)
        self.transport.close()

    def _say(self, status: HTTPStatus, words: str) -> None:
        error = {"message": words, "type": "invalid_request_error", "param": None, "code": None}
        body = orjson.dumps({"error": error})
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"x-request-id: {request_id()}",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)

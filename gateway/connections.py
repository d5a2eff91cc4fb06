"""Connections as uvicorn keeps them, but with an end to its patience: `uvicorn --http gateway.connections:Connection`.

By itself it waits for a request for as long as its sender likes, and holds headers of any size.
"""

import asyncio
from http import HTTPStatus
from typing import ClassVar

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 1024


class Connection(HttpToolsProtocol):
    """One client's connection."""

    patience_seconds: ClassVar[float] = 20.0
    """How long the head of a request may take, and how often it is looked at whether a body goes on coming."""
    least_bytes: ClassVar[int] = 1024
    """Fewer bytes of a body than this within `patience_seconds` are none."""

    _in_head = True
    _is_partial = True
    _bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._is_partial = True
        self._bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_partial = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_partial:
            self._bytes += len(data)
            if self._in_head and self._bytes > MOST_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers of this request are too large.")
            elif self._timer is None:
                self._wait()

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.patience_seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._is_partial or self.transport.is_closing():
            return
        # What is not read because its reader is busy is not the sender's fault.
        if self._in_head or (self._bytes < self.least_bytes and not self.flow.read_paused):
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "This request did not arrive in time.")
            return
        self._bytes = 0
        self._wait()

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        error = {"message": words, "type": "invalid_request_error", "param": None, "code": None}
        body = orjson.dumps({"error": error})
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()

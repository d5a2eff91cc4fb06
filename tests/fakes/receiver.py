"""A server that receives webhooks: real HTTP, and it answers as it is told."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.fakes.serving import serving


@dataclass
class Received:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came, and how the next requests are answered."""

    url: str = ""
    status: int = 204
    location: str = ""
    wait_seconds: float = 0.0
    received: list[Received] = field(default_factory=list)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port of 127.0.0.1."""
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            told.received.append(Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            time.sleep(told.wait_seconds)
            self.send_response(told.status)
            if told.location:
                self.send_header("Location", told.location)
            self.send_header("Content-Length", "0" if told.status == 204 else "5")
            self.end_headers()
            if told.status != 204:
                self.wfile.write(b"words")

    with serving(Handler) as address:
        told.url = f"{address}/hook"
        yield told

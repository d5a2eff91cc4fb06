"""The stream application on a real server, and a reader of server-sent events."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import uvicorn

from portal.embedded.program import free_port


@contextmanager
def serving(application: object) -> Iterator[str]:
    """The address at which `application` is served by uvicorn, in a thread."""
    port = free_port()
    config = uvicorn.Config(
        application,  # type: ignore[arg-type]
        host="127.0.0.1",
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server could not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@dataclass(frozen=True)
class Received:
    """One server-sent event as a browser would see it, and its bytes."""

    id: str
    event: str
    data: str
    raw: bytes


def events(response: httpx2.Response) -> Iterator[Received]:
    """Events as they arrive; comments and the retry time are passed over."""
    rest = b""
    for piece in response.iter_bytes():
        *frames, rest = (rest + piece).split(b"\n\n")
        for raw in frames:
            fields = dict(line.split(": ", 1) for line in raw.decode().split("\n") if ": " in line and line[0] != ":")
            if "event" in fields:
                yield Received(fields.get("id", ""), fields["event"], fields["data"], raw + b"\n\n")

"""A client that hangs up has its server hung up on within 100 ms, wherever the call is.

The server notes when its connection ended. A busy machine is no delay of the gateway's, so that of several hang-ups the
one in the middle counts: what the gateway itself waits for would delay each of them.
"""

import array
import fcntl
import json
import socket
import termios
import time
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Host, Stage, admitted, begun, chat, wait_for, words_read

PROMISED_SECONDS = 0.1
HANG_UPS = 9
SILENT = {"tokens": 9, "stall_after": 3}


@pytest.mark.parametrize(
    ("streams", "told", "words", "text"),
    [
        (True, {"slow_headers": 30}, 0, "one"),
        (False, {"slow_headers": 30}, 0, "one"),
        (True, {"slow_events": 30}, 0, "one"),
        (True, {"tokens": 10_000, "rate": 100}, 3, "one"),
        (True, SILENT, 3, "one"),
        (True, SILENT, 3, "one " * 200_000),
    ],
    ids=["prompt", "whole answer", "before the first event", "mid-stream", "silent stream", "long prompt"],
)
def test_it_works(
    url: str, secret: str, fake: FakeInferenceServer, streams: bool, told: dict[str, Any], words: int, text: str
) -> None:
    delays = []
    for _number in range(HANG_UPS):
        before = fake.ledger.requests
        with begun(url, secret, told, text=text, stream=streams) as connection:
            if words:
                words_read(connection.getresponse(), words)
            wait_for(lambda: fake.ledger.requests > before)  # noqa: B023 - it is called before the next round
            entry, left_at = fake.last(), time.monotonic()
        wait_for(lambda: entry.closed_at is not None)  # noqa: B023 - the same
        assert entry.closed_by == "client"
        delays.append((entry.closed_at or 0) - left_at)
    assert median(delays) < PROMISED_SECONDS


def unread(server: socket.socket) -> int:
    """How many bytes have come and were not read."""
    found = array.array("i", [0])
    fcntl.ioctl(server, termios.FIONREAD, found)
    return found[0]


def test_a_server_that_has_yet_to_read_the_request(url: str, secret: str, host: Host, stage: Stage) -> None:
    text = "one " * 4_000_000
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        model = host({"base_url": f"http://127.0.0.1:{listener.getsockname()[1]}/v1"})
        with begun(url, secret, {}, text=text, model=model):
            server, _address = listener.accept()
            wait_for(lambda: unread(server) > 64 * 1024)
        # Read any earlier, the rest could still follow before the gateway heard of the hang-up.
        wait_for(lambda: admitted(stage) == 0)
        with server:
            server.settimeout(10)
            received = 0
            while piece := server.recv(1024 * 1024):
                received += len(piece)
    # What was on its way arrives; a request that is cut short is none.
    assert received < len(text)


def request(method: str, path: str, secret: str, body: bytes = b"") -> bytes:
    lines = [f"{method} /v1/{path} HTTP/1.1", "Host: x", f"Authorization: Bearer {secret}"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def test_who_sends_another_request_meanwhile(url: str, secret: str, fake: FakeInferenceServer) -> None:
    parts = urlsplit(url)
    for told, hangs_up in (({"slow_headers": 30}, True), ({"slow_headers": 0.3}, False)):
        before = fake.ledger.requests
        body = json.dumps({"model": "paid-chat", "messages": chat(), "fake": told}).encode()
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
            connection.sendall(
                request("POST", "chat/completions", secret, body)
                + request("POST", "chat/completions", secret, body)
                + request("GET", "models", secret)
            )
            wait_for(lambda: fake.ledger.requests > before)  # noqa: B023 - it is called before the next round
            entry, received = fake.last(), b""
            while not hangs_up and (piece := connection.recv(65536)):
                received += piece
        wait_for(lambda: entry.closed_at is not None)  # noqa: B023 - the same
        assert entry.closed_by == ("client" if hangs_up else "done")
        assert fake.ledger.requests == before + 1, "what was sent too early is not answered"
        if not hangs_up:
            assert received.startswith(b"HTTP/1.1 200 ")
            assert received.count(b"HTTP/1.1 ") == received.lower().count(b"connection: close") == 1

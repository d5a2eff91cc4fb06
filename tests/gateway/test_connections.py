"""Senders who are slow or never stop take nothing from others."""

import http.client
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import LazySettings

from accounts.models import User
from accounts.services import open_workspace
from apikeys.services import mint_key
from tests.gateway.conftest import START_SECONDS, Reply, Stage, ask, chat, is_there, wait_for, web_process

# As many of the largest bodies as one organization may have on their way where no other sends any.
MOST_OF_ONE = 24
IMPATIENT = ["--http", "tests.gateway.impatient:Connection"]


@pytest.fixture(scope="module")
def impatient(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    var: Path = tmp_path_factory.mktemp("var")
    with web_process(var, arguments=IMPATIENT) as (url, _process):
        wait_for(lambda: is_there(url), seconds=START_SECONDS)
        yield url


def connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)


def answer(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def status(connection: socket.socket) -> int:
    """Of an answer after which the connection is kept."""
    with http.client.HTTPResponse(connection) as response:
        response.begin()
        response.read()
        return response.status


def head(length: int, secret: str = "", *, path: str = "chat/completions", kind: str = "application/json") -> bytes:
    lines = [f"POST /v1/{path} HTTP/1.1", "Host: x", f"Authorization: Bearer {secret}", f"Content-Type: {kind}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def test_it_works(impatient: str, secret: str) -> None:
    body = {"model": "fake-chat", "messages": chat(), "stream": True, "fake": {"tokens": 6, "rate": 4}}
    # An answer may take longer than a request.
    assert ask(impatient, "/chat/completions", secret=secret, body=body).body.endswith(b"[DONE]\n\n")
    parts = urlsplit(impatient)
    kept = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    for pause in (0, 1):
        # Between two requests a connection may be silent for longer than within one.
        time.sleep(pause)
        sent = json.dumps({"model": "fake-chat", "messages": chat()})
        kept.request("POST", "/v1/chat/completions", body=sent, headers={"Authorization": f"Bearer {secret}"})
        socket_before = kept.sock
        assert kept.getresponse().read()
        assert kept.sock is socket_before
    kept.close()


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-A: b"])
def test_a_head_that_does_not_come_to_its_end(impatient: str, sent: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(sent)
        assert answer(connection).startswith(b"HTTP/1.1 408 ")


def test_many_large_bodies_that_come_slowly(url: str, secret: str, settings: LazySettings) -> None:
    settings.GATEWAY_MAX_BODY_BYTES = largest = 1_000_000

    def status_of(text: str) -> int:
        body = {"model": "fake-chat", "messages": chat(text)}
        return ask(url, "/chat/completions", secret=secret, body=body).status

    with ExitStack() as senders:
        slow = [senders.enter_context(connected(url)) for _number in range(MOST_OF_ONE + 1)]
        for sender in slow:
            sender.sendall(head(largest, secret) + b"a" * (largest - 1000))
        answered, _writable, _broken = select.select(slow, [], [], 10)
        assert [status(sender) for sender in answered] == [429]
        assert status_of("small") == 200
    wait_for(lambda: status_of("a" * 900_000) == 200)


@pytest.fixture
def others(stage: Stage) -> Iterator[list[str]]:
    """A key of each of two other organizations."""
    users = [User.objects.create_user(f"{name}@gateway.example", name=name.title()) for name in ("bea", "cal")]
    projects = [open_workspace(user=user) for user in users]
    yield [mint_key(project=project, name="k", by=user)[1] for project, user in zip(projects, users, strict=True)]
    for project, user in zip(projects, users, strict=True):
        project.organization.delete()
        user.delete()


def test_two_who_send_many_large_bodies_leave_room_to_a_third(
    url: str, secret: str, others: list[str], settings: LazySettings
) -> None:
    settings.GATEWAY_MAX_BODY_BYTES = largest = 1_000_000
    second, third = others
    with ExitStack() as senders:
        slow = []
        for whose in [*[secret] * MOST_OF_ONE, *[second] * 9]:
            slow.append(senders.enter_context(connected(url)))
            slow[-1].sendall(head(largest, whose) + b"a" * (largest - 1000))
        answered, _writable, _broken = select.select(slow, [], [], 10)
        assert answered
        time.sleep(0.5)
        body = {"model": "fake-chat", "messages": chat("a" * 900_000)}
        assert ask(url, "/chat/completions", secret=third, body=body).status == 200


def test_a_head_that_comes_by_the_byte(impatient: str) -> None:
    started = time.monotonic()
    with connected(impatient) as connection:
        connection.settimeout(0.05)
        for byte in head(5) * 100:
            connection.sendall(bytes([byte]))
            with suppress(TimeoutError):
                assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
                break
    assert time.monotonic() - started < 5


def test_a_body_that_comes_by_the_byte(impatient: str, secret: str) -> None:
    with connected(impatient) as connection:
        connection.sendall(head(1000, secret) + b'{"model"')
        assert answer(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_goes_on_coming(impatient: str, secret: str) -> None:
    text = "a" * 8000
    sent = json.dumps({"model": "fake-chat", "messages": chat(text)}).encode()
    with connected(impatient) as connection:
        connection.sendall(head(len(sent), secret))
        for start in range(0, len(sent), 1000):
            connection.sendall(sent[start : start + 1000])
            time.sleep(0.15)
        assert status(connection) == 200


def test_a_body_that_comes_by_the_kilobyte(impatient: str, secret: str) -> None:
    sent = json.dumps({"model": "fake-chat", "messages": chat("a" * 500_000)}).encode()
    with connected(impatient) as connection:
        connection.sendall(head(len(sent), secret))
        connection.settimeout(0.2)
        for start in range(0, len(sent), 600):
            connection.sendall(sent[start : start + 600])
            with suppress(TimeoutError):
                assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
                break
    assert start < 20_000


def test_one_request_does_not_wait_by_the_clock_of_another(impatient: str, secret: str) -> None:
    sent = json.dumps({"model": "fake-chat", "messages": chat()}).encode()
    with connected(impatient) as connection:
        for _number in range(25):
            connection.sendall(head(len(sent), secret))
            time.sleep(0.03)
            connection.sendall(sent)
            assert status(connection) == 200


def test_empty_lines_after_an_answer(impatient: str) -> None:
    with connected(impatient) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status(connection) == 401
        connection.sendall(b"\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 408 ")


def test_half_a_request_during_an_answer(impatient: str, secret: str) -> None:
    body = {"model": "fake-chat", "messages": chat(), "stream": True, "fake": {"tokens": 100, "rate": 20}}
    sent = json.dumps(body).encode()
    with connected(impatient) as connection:
        connection.sendall(head(len(sent), secret) + sent + b"POST /v1")
        received = answer(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"HTTP/1.1 ") == 1


def test_headers_after_a_body_without_end(impatient: str) -> None:
    opening = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    line = b"X-A: " + b"a" * 1000 + b"\r\n"
    with connected(impatient) as connection:
        connection.sendall(opening)
        with pytest.raises(ConnectionError):
            connection.sendall(line * 30_000)


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /v1/models HTTP/9.9\r\n\r\n"])
def test_what_is_no_http(impatient: str, sent: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(sent)
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            reply = Reply(response.status, response.headers, response.read())
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("value", ["", "a" * 60_000])
def test_headers_without_end(impatient: str, value: str) -> None:
    refusal = b""
    with connected(impatient) as connection, suppress(ConnectionError):
        connection.sendall(b"GET /v1/models HTTP/1.1\r\n")
        connection.setblocking(False)
        for number in range(100_000):
            line = f"X-{number}: {value}\r\n".encode()
            with suppress(BlockingIOError):
                connection.send(line)
            with suppress(BlockingIOError):
                refusal = connection.recv(65536)
                break
    # Who goes on sending may be cut off before they read why.
    assert refusal == b"" or refusal.startswith(b"HTTP/1.1 431 ")
    assert number < 90_000


def test_who_says_no_more_is_answered_still(impatient: str) -> None:
    for method in ("GET", "HEAD"):
        for _number in range(20):
            with connected(impatient) as client:
                client.sendall(f"{method} /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                client.shutdown(socket.SHUT_WR)
                assert answer(client).startswith(b"HTTP/1.1 404 "), method

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from django.core.exceptions import ValidationError

from common.http import MAX_REPLY_BYTES, Client, Failure, NoAnswerError, Reply, origin, run, validate_base_url
from tests.catalog.servers import serving
from tests.fakes.ports import refusing_port


def get(url: str, *, credential: str = "", deadline_seconds: float = 1.0) -> Reply:
    async def ask() -> Reply:
        async with Client(deadline_seconds=deadline_seconds) as client:
            return await client.get(url, credential=credential)

    return run(ask())


@contextmanager
def speaking(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that says to each caller what `speak` sends, whatever was asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # the listener or a caller is gone
                while True:
                    connection, _address = listener.accept()
                    with connection:
                        connection.recv(4096)
                        speak(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def failure_of(url: str, **options: float) -> Failure:
    with pytest.raises(NoAnswerError) as caught:
        get(url, **options)  # type: ignore[arg-type]
    return caught.value.failure


def test_it_works() -> None:
    with serving({"/v1/models": (200, {"data": []})}) as server:
        reply = get(f"{server.base_url}/models", credential="sk-1")
    assert (reply.status, reply.json()) == (200, {"data": []})
    assert server.asked[0].credential == "sk-1"


def test_what_is_no_json_reads_as_nothing() -> None:
    with serving({"/": (200, b"<html>")}) as server:
        assert get(f"{server.url}/").json() is None


def test_no_credential_sends_no_header() -> None:
    with serving({"/": (200, {})}) as server:
        get(f"{server.url}/")
    assert server.asked[0].credential == ""


def test_a_redirect_is_not_followed() -> None:
    with serving({}) as other, serving({"/": (302, {})}) as server:
        server.headers["Location"] = f"{other.url}/"
        assert get(f"{server.url}/", credential="sk-1").status == 302
    assert other.asked == []


def test_nothing_listens() -> None:
    with refusing_port() as port:
        assert failure_of(f"http://127.0.0.1:{port}/") == Failure.REFUSED


def test_a_machine_that_is_not_known() -> None:
    assert failure_of("http://no-such-machine.invalid/") == Failure.UNKNOWN_HOST


def test_silence_ends_at_the_deadline() -> None:
    with serving({"/": (200, {})}) as server:
        server.hold.clear()
        started = time.monotonic()
        assert failure_of(f"{server.url}/", deadline_seconds=0.2) == Failure.TIMEOUT
        assert time.monotonic() - started < 5, "half of what the server would hold it"


def test_a_trickle_ends_at_the_deadline() -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(40):
            connection.sendall(b".")
            time.sleep(0.05)

    with speaking(trickle) as url:
        assert failure_of(url, deadline_seconds=0.2) == Failure.TIMEOUT


def test_a_flood_is_cut() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(2 + MAX_REPLY_BYTES // 65536):
            connection.sendall(b"x" * 65536)

    with speaking(flood) as url:
        assert failure_of(url, deadline_seconds=5) == Failure.BROKEN


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"]
)
def test_what_is_no_whole_answer(said: bytes) -> None:
    with speaking(lambda connection: connection.sendall(said)) as url:
        assert failure_of(url) == Failure.BROKEN


def test_plain_http_where_tls_is_asked() -> None:
    with serving({"/": (200, {})}) as server:
        assert failure_of(server.url.replace("http:", "https:")) == Failure.TLS


def test_a_failure_never_names_the_credential() -> None:
    with pytest.raises(NoAnswerError) as caught:
        get("http://127.0.0.1:9/", credential="sk-secret")
    assert "sk-secret" not in repr(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "url", ["http://gpu:8000/v1", "https://10.0.0.7", "http://[::1]:8080/v1/", "http://localhost/openai/v1"]
)
def test_addresses_of_servers(url: str) -> None:
    validate_base_url(url)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("gpu:8000", "scheme"),
        ("ftp://gpu/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("http://", "host"),
        ("http:///v1", "host"),
        ("http://gpu:0/", "host"),
        ("http://gpu:port/", "malformed"),
        ("http://gpu:99999/", "malformed"),
        ("http://[::1/", "malformed"),
        ("http://me:secret@gpu/v1", "userinfo"),
        ("http://gpu/v1?key=secret", "query"),
        ("http://gpu/v1#top", "query"),
        ("http://gpu /v1", "space"),
        ("http://gpu\r\nHost: other/", "space"),
        ("http://gpu\\@other/", "space"),
        ("", "scheme"),
    ],
)
def test_what_is_no_address_of_a_server(url: str, code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        validate_base_url(url)
    assert caught.value.code == code


def test_origins() -> None:
    assert origin("http://gpu/v1") == origin("http://gpu:80/other") == ("http", "gpu", 80)
    assert origin("https://gpu/v1") == ("https", "gpu", 443)
    assert origin("http://gpu:8000/v1") != origin("http://gpu:8001/v1")

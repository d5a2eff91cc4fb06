"""PostgreSQL restarts while people read: who asks for a page then waits a moment longer for it."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection

from portal.embedded.program import free_port
from tests.fakes.tcp_proxy import TcpProxy
from tests.gateway.conftest import START_SECONDS, ask, wait_for, web_process

pytestmark = pytest.mark.django_db(transaction=True)

READERS, AWAY_SECONDS = 4, 1.0


@pytest.fixture
def postgres() -> Iterator[TcpProxy]:
    database = connection.settings_dict
    with TcpProxy(database["HOST"], int(database["PORT"] or 5432)) as proxy:
        yield proxy


@pytest.fixture
def url(postgres: TcpProxy, tmp_path: Path) -> Iterator[str]:
    """A web process that reaches PostgreSQL by way of the proxy."""
    database = connection.settings_dict
    place = f"127.0.0.1:{postgres.port}/{database['NAME']}"
    address = f"postgres://{database['USER']}:{database['PASSWORD']}@{place}"
    application = "portal.asgi:application"
    with web_process(tmp_path, application=application, port=free_port(), DATABASE_URL=address) as (base, _process):
        url = base.removesuffix("/v1")
        wait_for(lambda: status(url) == 200, seconds=START_SECONDS)
        yield url


def status(url: str) -> int:
    """Of a page that asks PostgreSQL; 0 when nobody is there."""
    try:
        return ask(url, "/models/", method="GET").status
    except OSError:
        return 0


def test_it_works(url: str, postgres: TcpProxy) -> None:
    answers: list[tuple[float, int]] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            asked_at = time.monotonic()
            answers.append((asked_at, status(url)))

    readers = [threading.Thread(target=read) for _number in range(READERS)]
    for reader in readers:
        reader.start()
    wait_for(lambda: len(answers) > 4 * READERS, seconds=20)
    postgres.cut()
    cut_at = time.monotonic()
    time.sleep(AWAY_SECONDS)  # a restart takes as long
    postgres.resume()
    wait_for(lambda: sum(asked_at > cut_at for asked_at, _status in answers) > 4 * READERS, seconds=20)
    is_over.set()
    for reader in readers:
        reader.join()
    assert Counter(status for asked_at, status in answers if asked_at > cut_at).keys() == {200}


def test_what_is_sent_after_it_finds_a_connection(url: str, postgres: TcpProxy) -> None:
    """It is not sent twice, so that the one which it gets has to be whole."""
    token = "a" * 32
    form = f"csrfmiddlewaretoken={token}&login=nobody@example.com&password=wrong".encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": f"csrftoken={token}"}
    postgres.cut()
    postgres.resume()
    reply = ask(url, "/accounts/login/", headers=kind, body=form)
    assert reply.status == 200
    assert b"is not right" in reply.body


def test_who_is_first_after_it_finds_a_connection_among_many_that_are_dead(url: str, postgres: TcpProxy) -> None:
    with ThreadPoolExecutor(2 * READERS) as readers:
        list(readers.map(status, [url] * 10 * READERS))
    postgres.cut()
    postgres.resume()
    assert status(url) == 200

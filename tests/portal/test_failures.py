"""The page of a request that failed."""

import json
import threading
from collections.abc import Iterator

import psycopg
import pytest
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from psycopg_pool import ConnectionPool

from catalog.models import HostedModel
from portal.views import failed
from tests.gateway.conftest import wait_for

TABLE = HostedModel._meta.db_table
# Those that wait for the table which `operator` holds; a number of a table is another one's in another database.
WAITING = (
    "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database "
    "WHERE NOT granted AND relation = %s::regclass AND datname = current_database()"
)


def address() -> dict[str, object]:
    settings: dict[str, object] = {**connection.get_connection_params()}
    return {str(name): settings[name] for name in ("host", "port", "user", "password", "dbname") if name in settings}


@pytest.fixture
def operator(transactional_db: None) -> Iterator[psycopg.Connection]:
    """Another connection, which holds up whoever asks for models."""
    with psycopg.connect(**address()) as other:  # type: ignore[arg-type]  # a dict of what psycopg takes
        other.execute(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        yield other


@pytest.mark.django_db
def test_it_works_while_no_database_connection_is_free() -> None:
    """The error as Django has it when its pool has none left."""
    with ConnectionPool(kwargs=address(), min_size=1, max_size=1, timeout=0.05) as pool, pool.connection(timeout=5):
        response = _answer_to(pool)
    assert (response.status_code, response["retry-after"]) == (503, "5")
    assert "Out of reach at the moment" in response.content.decode()


def _answer_to(pool: ConnectionPool) -> HttpResponse:
    try:
        with connection.wrap_database_errors:
            pool.getconn()
    except OperationalError:
        return failed(HttpRequest())
    raise AssertionError("The pool had a connection left.")


def test_any_other_failure_is_ours() -> None:
    try:
        raise ValueError("x")
    except ValueError:
        response = failed(HttpRequest())
    assert response.status_code == 500
    assert "retry-after" not in response


class Reader(threading.Thread):
    """Somebody who asks for a page, and waits for its answer."""

    answer: HttpResponse

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def run(self) -> None:
        try:
            self.answer = Client(raise_request_exception=False).get(self.path)  # type: ignore[assignment]  # it is one
        finally:
            connection.close()


def test_a_page_that_loses_its_connection_once_is_read_again(operator: psycopg.Connection) -> None:
    reader = Reader("/models/")
    reader.start()
    wait_for(lambda: end(operator, "pg_terminate_backend") > 0, seconds=10)
    operator.rollback()
    reader.join(10)
    assert reader.answer.status_code == 200


@pytest.mark.parametrize(
    ("act", "status", "code"),
    [
        # As a restart ends it.
        ("pg_terminate_backend", 503, "busy"),
        # As a statement ends that takes too long: to try again would not help.
        ("pg_cancel_backend", 500, "fault"),
    ],
)
@pytest.mark.parametrize("path", ["/models/", "/api/models/"])
def test_a_page_that_loses_each_connection_can_be_asked_for_again(
    operator: psycopg.Connection, act: str, status: int, code: str, path: str
) -> None:
    reader = Reader(path)
    reader.start()
    wait_for(lambda: end(operator, act) == 0 and not reader.is_alive(), seconds=10)
    assert reader.answer.status_code == status
    assert reader.answer.headers.get("retry-after") == ("5" if status == 503 else None)
    if path.startswith("/api/"):
        told = json.loads(reader.answer.content)["code"]
        assert (reader.answer["content-type"], told) == ("application/problem+json", code)


def end(operator: psycopg.Connection, act: str) -> int:
    """End what waits for the table which `operator` holds; how many waited."""
    return len(operator.execute(f"SELECT {act}(pid) FROM ({WAITING}) AS waiting", [TABLE]).fetchall())  # noqa: S608 - names only

"""The page of a request that failed."""

import pytest
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from psycopg_pool import ConnectionPool

from portal.views import failed


@pytest.mark.django_db
def test_it_works_while_no_database_connection_is_free() -> None:
    """The error as Django has it when its pool has none left."""
    settings: dict[str, object] = {**connection.get_connection_params()}
    given: dict[str, object] = {
        str(name): settings[name] for name in ("host", "port", "user", "password", "dbname") if name in settings
    }
    with ConnectionPool(kwargs=given, min_size=1, max_size=1, timeout=0.05) as pool, pool.connection(timeout=5):
        response = _answer_to(pool)
    assert (response.status_code, response["retry-after"]) == (503, "5")
    assert "Too busy at the moment" in response.content.decode()


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

"""Pages that are read while PostgreSQL is restarted."""

from collections.abc import Callable

from django.db import close_old_connections, connection
from django.http import HttpRequest, HttpResponse
from psycopg_pool import ConnectionPool

LOST = "lyceum.database_lost"
"""In the `META` of a request that there was no connection for: whether it had one, which was lost meanwhile."""


class ReadAgainMiddleware:
    """Reads a page once more that lost its connection, as a restart makes it.

    The connection that it gets then waits for the database to be back, as those of all do who come meanwhile. What is
    not only read is left as it failed, for it may have acted.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        lost = _lost()
        response = self.get_response(request)
        if LOST in request.META:
            is_lost = request.META.pop(LOST)
            if pool := _pool():
                # By itself it finds one that is lost for each request, and has it wait ever longer for the next one.
                pool.check()
            if (is_lost or _lost() > lost) and request.method in ("GET", "HEAD"):
                close_old_connections()
                response = self.get_response(request)
        return response


def _pool() -> ConnectionPool | None:
    return getattr(connection, "pool", None)


def _lost() -> int:
    """How many connections of the pool were found to be lost so far."""
    pool = _pool()
    return 0 if pool is None else pool.get_stats().get("connections_lost", 0)

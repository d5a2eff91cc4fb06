"""Pages that are read while PostgreSQL is restarted."""

from collections.abc import Callable

from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse

LOST = "lyceum.database_lost"
"""In the `META` of a request: its connection was lost while it was answered."""


class ReadAgainMiddleware:
    """Reads a page once more that lost its connection, as a restart makes it.

    The connection that it gets then waits for the database to be back, as those of all do who come meanwhile. What is
    not only read is left as it failed, for it may have acted.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.META.pop(LOST, False) and request.method in ("GET", "HEAD"):
            close_old_connections()
            response = self.get_response(request)
        return response

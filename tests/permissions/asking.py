"""Asking one address as one role, in a world that is the same again afterwards."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from urllib.parse import urlencode

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.cache import cache as counters
from django.core.handlers.base import BaseHandler
from django.db import connection, transaction
from django.http.response import HttpResponseBase
from django.test import RequestFactory

from tests.permissions.answers import SIGN_IN, UNCHANGED, Address
from tests.permissions.cast import Cast

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SIGN_IN_PAGES = ("/accounts/login/", "/admin/login/")
REFUSED = {"400", "401", "403", "404", "405", "409", "410", "429", SIGN_IN}
WRITING = ("INSERT", "UPDATE", "DELETE")
# After nothing but these there is nothing to take back, which would cost each request more than the page it refuses.
READING = ("SELECT", "SAVEPOINT", "RELEASE")
# That of a visitor, in which allauth notes what they wanted before it sends them to sign in.
A_SESSION_BEGINS = 'INSERT INTO "django_session"'


@dataclass(frozen=True)
class Answer:
    """What came back: in a word of the table, as text, and with the statements that changed something."""

    word: str
    text: str
    writes: list[str]


def ask(world: Cast, role: str, method: str, address: Address, *, secret: str = "") -> Answer:
    """One request of a role, or with a key instead of a session; whatever it changed is taken back."""
    names = world.names_for(role)
    path = address.path.format(**names)
    data = _filled(address.data, names) if method != "GET" else {}
    body, kind = urlencode(data, doseq=True), "application/x-www-form-urlencoded"
    if path.startswith("/api/"):
        body, kind = json.dumps(data), "application/json"
    browser = RequestFactory(headers={"Authorization": f"Bearer {secret}"} if secret else {})
    if not secret and role in world.sessions:
        browser.cookies[settings.SESSION_COOKIE_NAME] = world.sessions[role]
    request: Any = browser.generic(method, path, body, kind)
    request._dont_enforce_csrf_checks = True
    with _noted() as statements:
        response = _handler().get_response(request)
        text = _text(response)
    if any(not sql.startswith(READING) for sql in statements) or response.status_code >= 500:
        transaction.savepoint_rollback(world.savepoint)
    counters.clear()  # how often one may ask is not the question here
    writes = [sql for sql in statements if sql.startswith(WRITING) and not sql.startswith(A_SESSION_BEGINS)]
    return Answer(_word(response, method, writes), text, writes)


@cache
def _handler() -> BaseHandler:
    """The portal. The test client would load its middleware, and copy what every template is given, at each request."""
    handler = BaseHandler()
    handler.load_middleware()
    return handler


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format(**names)
    if isinstance(value, list):
        return [_filled(one, names) for one in value]
    if isinstance(value, dict):
        return {key: _filled(one, names) for key, one in value.items()}
    return value


@contextmanager
def _noted() -> Iterator[list[str]]:
    statements: list[str] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        statements.append(sql.lstrip())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield statements


def _text(response: Any) -> str:
    content: bytes = async_to_sync(_gathered)(response) if response.streaming else response.content
    # Not closed as a whole, which would close the connection and what is not committed on it.
    for close in response._resource_closers:
        close()
    return content.decode(errors="replace")


async def _gathered(response: Any) -> bytes:
    if not response.is_async:
        return b"".join(response.streaming_content)
    return b"".join([part async for part in cast("AsyncIterator[bytes]", response.streaming_content)])


def _word(response: HttpResponseBase, method: str, writes: list[str]) -> str:
    if response.status_code == 302 and response.headers["Location"].startswith(SIGN_IN_PAGES):
        return SIGN_IN
    word = str(response.status_code)
    return word if method == "GET" or word in REFUSED or writes else word + UNCHANGED

"""Every route beside Django × method × role, asked with the session of the role, and none missing from the table."""

from collections.abc import Iterator

import httpx2
import pytest
from django.conf import settings
from starlette.routing import Route

from gateway.asgi import application as gateway
from playground import tickets
from playground.asgi import application as streams
from portal.asgi import application
from portal.health import application as health
from tests.gateway.conftest import serving
from tests.permissions.answers import ROLES, Address
from tests.permissions.cast import Cast
from tests.permissions.rows import beside

ROUTES = [route for application in (gateway, streams, health) for route in application.routes]


def test_every_route_is_in_the_table() -> None:
    assert all(isinstance(route, Route) for route in ROUTES)
    assert {address.name for address in beside.ROWS} == {route.path for route in ROUTES if isinstance(route, Route)}


@pytest.fixture(scope="module")
def portal() -> Iterator[str]:
    """The address of a web process."""
    with serving(application) as url:
        yield url.removesuffix("/v1")


@pytest.mark.parametrize("address", beside.ROWS, ids=lambda address: address.path)
def test_what_each_role_gets(cast: Cast, portal: str, address: Address) -> None:
    ticket = tickets.issue(run_id=cast.names["running"], user_id=cast.names["member"])
    path = address.path.format(**cast.names, ticket_of_another_run=ticket)
    got = {}
    for method in address.answers:
        cookies = [f"{settings.SESSION_COOKIE_NAME}={cast.sessions.get(role, '')}" for role in ROLES]
        answers = [
            httpx2.request(method, portal + path, json=address.data, headers={"cookie": cookie}) for cookie in cookies
        ]
        got[method] = " ".join(str(answer.status_code) for answer in answers)
    assert got == address.answers

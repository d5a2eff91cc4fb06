"""No route of the gateway answers without a key, whatever routes there are."""

import pytest
from starlette.routing import Route

from gateway.asgi import application
from tests.gateway.conftest import Stage, ask

PATHS = [route.path.replace("{name:path}", "fake-chat") for route in application.routes if isinstance(route, Route)]


def test_it_works(url: str, secret: str) -> None:
    assert ask(url, "/models", method="GET", secret=secret).status == 200


def test_there_are_routes_of_one_kind_only() -> None:
    assert len(PATHS) == len(application.routes) > 3


@pytest.mark.parametrize("path", PATHS)
def test_without_a_key_nothing_is_told(url: str, stage: Stage, path: str) -> None:
    below = path.removeprefix("/v1")
    body = {"model": "fake-chat", "messages": [{"role": "user", "content": "hi"}], "input": "hi", "prompt": "hi"}
    statuses = {
        method: ask(url, below, method=method, body=None if method == "GET" else body).status
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    }
    assert set(statuses.values()) == {401, 405}
    # Which methods, tests/permissions has.
    assert 1 <= list(statuses.values()).count(401) <= 2

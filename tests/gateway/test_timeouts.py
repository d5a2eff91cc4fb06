"""A deployment's own time-outs: no server keeps a call for longer, and its connection is closed."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Asked, Host, Reply, ask, chat, wait_for
from usage.models import UsageEvent

Servers = list[FakeInferenceServer]


def complete(url: str, secret: str, model: str, **fields: Any) -> tuple[Reply, float]:
    """The answer, and the seconds it took."""
    started = time.monotonic()
    reply = ask(url, "/chat/completions", secret=secret, body={"model": model, "messages": chat(), **fields})
    return reply, time.monotonic() - started


def is_left(servers: Servers) -> bool:
    """Whether the gateway has closed the connection of the last call."""
    return servers[0].last().closed_by == "client"


@pytest.mark.parametrize("limit", ["first_byte_timeout_seconds", "total_timeout_seconds"])
@pytest.mark.parametrize("streams", [False, True])
def test_it_works(url: str, secret: str, host: Host, servers: Servers, limit: str, streams: bool) -> None:
    model = host({limit: 0.3})
    reply, seconds = complete(url, secret, model, stream=streams, fake={"slow_headers": 20})
    assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
    assert 0.3 <= seconds < 2
    wait_for(lambda: is_left(servers), seconds=1)


def test_a_stream_that_does_not_begin(url: str, secret: str, host: Host, servers: Servers) -> None:
    model = host({"first_byte_timeout_seconds": 0.3})
    reply, seconds = complete(url, secret, model, stream=True, fake={"slow_events": 20})
    assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
    assert seconds < 2
    wait_for(lambda: is_left(servers), seconds=1)


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("idle_timeout_seconds", {"tokens": 9, "stall_after": 4}),
        ("total_timeout_seconds", {"tokens": 10_000, "rate": 50}),
    ],
    ids=["stalls", "never ends"],
)
def test_a_stream_that_has_begun(
    url: str,
    secret: str,
    host: Host,
    servers: Servers,
    event_of: Callable[[str], UsageEvent],
    limit: str,
    told: dict[str, Any],
) -> None:
    model = host({limit: 0.4})
    reply, seconds = complete(url, secret, model, stream=True, fake=told)
    assert reply.status == 200
    assert b'"code":"upstream_timeout"' in reply.body
    assert 0.4 <= seconds < 2
    wait_for(lambda: is_left(servers), seconds=1)
    assert event_of(reply.headers["x-request-id"]).completion_tokens == reply.body.count(b"word ") > 0


def test_a_server_that_takes_no_connection_is_left_for_another(
    url: str, secret: str, host: Host, asked: Asked, deaf: str
) -> None:
    model = host({"connect_timeout_seconds": 0.2, "base_url": deaf}, {"priority": 1})
    reply, seconds = complete(url, secret, model, max_tokens=1)
    assert (reply.status, asked()) == (200, [0, 1, 0])
    assert 0.2 <= seconds < 1


def test_each_deployment_has_its_own(url: str, secret: str, host: Host) -> None:
    hasty, patient = host({"first_byte_timeout_seconds": 0.1}), host({})
    told = {"slow_headers": 0.4}
    assert complete(url, secret, hasty, fake=told)[0].status == 504
    assert complete(url, secret, patient, fake=told)[0].status == 200

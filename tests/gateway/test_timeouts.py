"""A deployment's own time-outs: no server keeps a call for longer, and its connection is closed."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Asked, Host, Reply, ask, chat, wait_for
from usage.models import UsageEvent

Servers = list[FakeInferenceServer]

SILENCE_SECONDS = 20
# Half of what the server would keep the call for: how busy the machine is does not matter.
LEFT_SECONDS = SILENCE_SECONDS / 2


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
    reply, seconds = complete(url, secret, model, stream=streams, fake={"slow_headers": SILENCE_SECONDS})
    assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
    assert 0.3 <= seconds < LEFT_SECONDS
    wait_for(lambda: is_left(servers))


def test_a_stream_that_does_not_begin(url: str, secret: str, host: Host, servers: Servers) -> None:
    model = host({"first_byte_timeout_seconds": 0.3})
    reply, seconds = complete(url, secret, model, stream=True, fake={"slow_events": SILENCE_SECONDS})
    assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
    assert seconds < LEFT_SECONDS
    wait_for(lambda: is_left(servers))


@pytest.mark.parametrize(
    ("limit", "most", "told"),
    [
        ("idle_timeout_seconds", 0.4, {"tokens": 9, "stall_after": 4}),
        # Long enough for a busy server to begin.
        ("total_timeout_seconds", 1.5, {"tokens": 10_000, "rate": 50}),
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
    most: float,
    told: dict[str, Any],
) -> None:
    model = host({limit: most})
    reply, seconds = complete(url, secret, model, stream=True, fake=told)
    assert reply.status == 200
    assert b'"code":"upstream_timeout"' in reply.body
    assert most <= seconds < LEFT_SECONDS
    wait_for(lambda: is_left(servers))
    assert event_of(reply.headers["x-request-id"]).completion_tokens == reply.body.count(b"word ") > 0


def test_a_server_that_takes_no_connection_is_left_for_another(
    url: str, secret: str, host: Host, asked: Asked, deaf: str
) -> None:
    model = host({"connect_timeout_seconds": 0.2, "base_url": deaf}, {"priority": 1})
    reply, seconds = complete(url, secret, model, max_tokens=1)
    assert (reply.status, asked()) == (200, [0, 1, 0])
    assert 0.2 <= seconds < LEFT_SECONDS


def test_each_deployment_has_its_own(url: str, secret: str, host: Host) -> None:
    hasty, patient = host({"first_byte_timeout_seconds": 0.1}), host({})
    assert complete(url, secret, hasty, fake={"slow_headers": SILENCE_SECONDS})[0].status == 504
    assert complete(url, secret, patient, fake={"slow_headers": 0.4})[0].status == 200

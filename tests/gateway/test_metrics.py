"""What calls of a live gateway count in at /metrics."""

import threading
from collections.abc import Callable

import pytest
from django.conf import LazySettings
from starlette.testclient import TestClient

from common.ids import new_id
from portal.health import application
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Host, ask, chat, wait_for
from tests.portal.test_metrics import TOKEN, numbers

Mint = Callable[..., str]


@pytest.fixture(autouse=True)
def token(settings: LazySettings) -> None:
    settings.METRICS_TOKEN = TOKEN


def read() -> dict[tuple[str, ...], float]:
    with TestClient(application) as client:
        return numbers(client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text)


def grown(before: dict[tuple[str, ...], float], *sample: str) -> float:
    return read().get(sample, 0) - before.get(sample, 0)


def complete(url: str, secret: str, model: str, **body: object) -> int:
    return ask(url, "/chat/completions", secret=secret, body={"model": model, "messages": chat(), **body}).status


def test_it_works(url: str, mint: Mint, host: Host) -> None:
    model, secret = host({}), mint(requests_per_minute=2)
    before = read()
    assert complete(url, secret, model, stream=True, fake={"tokens": 4}) == 200
    assert complete(url, secret, model, fake={"tokens": 4, "status": 500}) == 502
    assert complete(url, secret, model) == 429
    assert ask(url, "/models", method="GET", secret="lyc_of_nobody").status == 401
    for status in ("2xx", "4xx", "5xx"):
        assert grown(before, "lyceum_calls_total", "chat/completions", model, status) == 1
    assert grown(before, "lyceum_call_duration_seconds_count", "chat/completions", model) == 2
    assert grown(before, "lyceum_first_token_seconds_count", "chat/completions", model) == 1
    assert grown(before, "lyceum_tokens_total", "output", model) == 4
    assert grown(before, "lyceum_refusals_total", "requests_per_minute") == 1
    assert [grown(before, "lyceum_errors_total", status) for status in ("401", "429", "502")] == [1, 1, 1]


def test_names_that_callers_make_up_make_no_series(url: str, secret: str) -> None:
    complete(url, secret, "no-such-model")
    before = read()
    assert complete(url, secret, new_id("model")) == 404
    after = read()
    assert after.keys() == before.keys()
    assert after["lyceum_calls_total", "chat/completions", "", "4xx"] == (
        before["lyceum_calls_total", "chat/completions", "", "4xx"] + 1
    )


def test_a_server_that_fails_is_seen_to_be_passed_over(
    url: str, secret: str, host: Host, servers: list[FakeInferenceServer]
) -> None:
    model = host({}, {"priority": 1})
    servers[0].scripts[model] = {"status": 503}
    assert complete(url, secret, model) == 200
    found = read()
    assert found["lyceum_deployment_circuits_open", f"{model}-0", model] == 1
    assert found.get(("lyceum_deployment_circuits_open", f"{model}-1", model)) == 0


def test_a_call_under_way_is_seen(url: str, secret: str, host: Host) -> None:
    model = host({})
    slow = threading.Thread(target=complete, args=(url, secret, model), kwargs={"fake": {"slow_headers": 1}})
    slow.start()
    wait_for(lambda: read().get(("lyceum_deployment_calls_in_flight", f"{model}-0", model)) == 1)
    assert read()["lyceum_calls_in_flight",] >= 1
    slow.join()
    wait_for(lambda: read()["lyceum_deployment_calls_in_flight", f"{model}-0", model] == 0)

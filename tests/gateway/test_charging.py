"""What a call is charged, one test for each row of the rule in `usage.calls` and of the page on errors.

Some rows need a stage of their own, and are tested where that is:

    hung up before a server had it   test_slots.py::test_a_client_that_leaves_while_it_waits_leaves_nothing_behind
    a restart while it ran           test_restart.py::test_what_does_not_end_in_time_is_told_to_come_again
    the death of the process         test_faults.py::test_a_killed_gateway_leaves_calls_that_are_settled_for_it
    the same, while it waited        test_faults.py::test_a_call_that_waits_when_its_gateway_is_killed_costs_nothing
"""

import time
from typing import Any

import pytest

from apikeys.models import ApiKey
from apikeys.services import revoke_key
from common import redis
from tests.fakes.inference_server import Entry, FakeInferenceServer
from tests.gateway.conftest import MILLION, Host, Reply, Stage, ask, begun, chat, wait_for, words_read
from usage.call import ASSUMED_TOKENS_PER_SECOND
from usage.ingest import drain
from usage.models import UsageEvent

# Nano-dollars a token of `paid-chat` costs, coming in and going out.
PRICE_IN, PRICE_OUT = 1, 10
WORDS = 3
# What the prompt of three words is taken for where the server did not say.
LIKELY_PROMPT = range(WORDS, 40)


def complete(url: str, secret: str, told: dict[str, Any], **fields: Any) -> Reply:
    body = {"model": "paid-chat", "messages": chat(), "fake": told, **fields}
    return ask(url, "/chat/completions", secret=secret, body=body)


def charged(secret: str) -> UsageEvent:
    """The only call that was made with a key, once it is in the ledger; it costs what its tokens do."""
    key = ApiKey.objects.behind(secret).get()

    def is_there() -> bool:
        drain()
        return UsageEvent.objects.filter(key_id=key.public_id).exists()

    wait_for(is_there)
    event = UsageEvent.objects.get(key_id=key.public_id)
    assert event.cost_nano == event.prompt_tokens * PRICE_IN + event.completion_tokens * PRICE_OUT
    return event


def served(fake: FakeInferenceServer, before: int) -> Entry:
    """The call after so many, once the server has it."""
    wait_for(lambda: fake.ledger.requests > before)
    return fake.last()


@pytest.mark.parametrize("streams", [False, True])
def test_it_works(url: str, secret: str, streams: bool) -> None:
    assert complete(url, secret, {"tokens": 4}, stream=streams).status == 200
    event = charged(secret)
    assert (event.status, event.prompt_tokens, event.completion_tokens) == (200, WORDS, 4)
    assert not event.is_estimated


def test_without_a_count_ours_counts(url: str, secret: str) -> None:
    complete(url, secret, {"tokens": 4, "no_usage": True}, stream=True)
    event = charged(secret)
    assert (event.status, event.completion_tokens, event.is_estimated) == (200, 4, True)
    assert event.prompt_tokens in LIKELY_PROMPT


def test_what_is_refused_before_a_server_has_it_costs_nothing(url: str, secret: str, fake: FakeInferenceServer) -> None:
    before = fake.ledger.requests
    assert complete(url, secret, {}, max_tokens=-1).status == 400
    assert fake.ledger.requests == before
    event = charged(secret)
    assert (event.status, event.cost_nano, event.is_estimated) == (400, 0, False)


@pytest.mark.parametrize("told", [{"status": 400}, {"status": 500}, {"die_after": 0}, {"bad_json": True}])
def test_a_server_that_fails_before_the_first_byte_costs_nothing(url: str, secret: str, told: dict[str, Any]) -> None:
    assert complete(url, secret, told).status in (400, 502)
    event = charged(secret)
    assert (event.cost_nano, event.completion_tokens, event.is_estimated) == (0, 0, False)


@pytest.mark.parametrize("streams", [False, True])
def test_hung_up_before_a_server_was_reached(
    url: str, secret: str, host: Host, deaf: str, stage: Stage, streams: bool
) -> None:
    model = host({"base_url": deaf}, input_price_nano=PRICE_IN * MILLION, output_price_nano=PRICE_OUT * MILLION)
    with begun(url, secret, {}, model=model, stream=streams):
        wait_for(lambda: is_running(stage, secret))
    event = charged(secret)
    assert (event.status, event.error_code) == (499, "client_closed")
    assert (event.prompt_tokens, event.completion_tokens, event.is_estimated) == (0, 0, False)


def is_running(stage: Stage, secret: str) -> bool:
    """Whether a call of a key was let in and is not over."""
    holds: Any = redis.durable().hvals(f"ly:{{{stage.project.organization.public_id}}}:holds")
    return any(ApiKey.objects.behind(secret).get().public_id in hold for hold in holds)


def test_hung_up_before_the_first_byte_of_a_stream(url: str, secret: str, fake: FakeInferenceServer) -> None:
    before = fake.ledger.requests
    with begun(url, secret, {"slow_headers": 30}, stream=True):
        served(fake, before)
    event = charged(secret)
    assert (event.status, event.completion_tokens, event.is_estimated) == (499, 0, True)
    assert event.prompt_tokens in LIKELY_PROMPT


def test_hung_up_while_a_whole_answer_was_made(url: str, secret: str, fake: FakeInferenceServer) -> None:
    before = fake.ledger.requests
    with begun(url, secret, {"slow_headers": 30}):
        entry = served(fake, before)
        wait_for(lambda: time_since(entry) > 0.4)
    event = charged(secret)
    assert (event.status, event.is_estimated) == (499, True)
    assert event.prompt_tokens in LIKELY_PROMPT
    assert (
        0.3 * ASSUMED_TOKENS_PER_SECOND
        <= event.completion_tokens
        <= event.latency_ms / 1000 * (ASSUMED_TOKENS_PER_SECOND)
    )


def test_no_whole_answer_is_longer_than_was_asked(url: str, secret: str, fake: FakeInferenceServer) -> None:
    before = fake.ledger.requests
    with begun(url, secret, {"slow_headers": 30}, max_tokens=1):
        entry = served(fake, before)
        wait_for(lambda: time_since(entry) > 0.3)
    assert charged(secret).completion_tokens == 1


def time_since(entry: Entry) -> float:
    return time.monotonic() - entry.opened_at


@pytest.mark.parametrize("counts", [True, False])
def test_hung_up_mid_stream(url: str, secret: str, fake: FakeInferenceServer, counts: bool) -> None:
    told = {"tokens": 2000, "rate": 50, "no_usage": not counts}
    with begun(url, secret, told, stream=True) as connection:
        words_read(connection.getresponse(), 5)
        entry = fake.last()
    event = charged(secret)
    assert (event.status, event.is_estimated) == (499, True)
    assert event.completion_tokens >= 5
    assert abs(event.completion_tokens - entry.sent_tokens) <= 2
    assert event.prompt_tokens == WORDS if counts else event.prompt_tokens in LIKELY_PROMPT


def test_hung_up_after_the_count_and_before_the_end(url: str, secret: str) -> None:
    told = {"tokens": 4, "slow_done": 30}
    options = {"include_usage": True}
    with begun(url, secret, told, stream=True, stream_options=options) as connection:
        response = connection.getresponse()
        words_read(response, 4)
        # All there is to come is the end; the count waits for it.
        assert b'"finish_reason":"stop"' in response.readline() + response.readline() + response.readline()
    event = charged(secret)
    assert (event.status, event.prompt_tokens, event.completion_tokens) == (499, WORDS, 4)
    assert not event.is_estimated, "the server counted all of it"


@pytest.mark.parametrize("counts", [True, False])
def test_a_server_that_dies_mid_stream(url: str, secret: str, counts: bool) -> None:
    told = {"tokens": 9, "rate": 200, "die_after": 4, "no_usage": not counts}
    reply = complete(url, secret, told, stream=True)
    assert reply.body.count(b"word ") == 4
    event = charged(secret)
    assert (event.status, event.completion_tokens, event.is_estimated) == (502, 4, True)


@pytest.mark.parametrize("streams", [False, True])
def test_a_key_that_is_revoked_meanwhile(
    url: str, secret: str, stage: Stage, fake: FakeInferenceServer, streams: bool
) -> None:
    before = fake.ledger.requests
    told = {"tokens": 2000, "rate": 50} if streams else {"slow_headers": 30}
    with begun(url, secret, told, stream=streams) as connection:
        served(fake, before)
        revoke_key(key=ApiKey.objects.behind(secret).get(), by=stage.ada)
        response = connection.getresponse()
        assert response.status == (200 if streams else 401)
        delivered = response.read().count(b"word ")
    event = charged(secret)
    assert (event.status, event.completion_tokens) == (401, delivered)
    assert bool(event.cost_nano) is streams

"""Streamed answers: what the client reads, what the ledger says, and what happens when somebody leaves half-way."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from apikeys.models import ApiKey
from apikeys.services import revoke_key
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Reply, Stage, ask, chat, wait_for
from usage.models import UsageEvent

EventOf = Callable[[str], UsageEvent]
SHAPES = [{}, {"usage_at_finish": True}, {"cut": 7}, {"crlf": True, "cut": 5}, {"no_done": True}]
BEFORE = [{"status": 500, "body": "<h1>at 10.0.0.7</h1>"}, {"wrong_type": True}, {"bad_json": True}]


def events(body: bytes) -> list[Any]:
    """The data of each event; every frame must be one line of data and an empty one."""
    found = []
    for frame in body.decode().removesuffix("\n\n").split("\n\n"):
        assert frame.startswith("data: ")
        assert "\n" not in frame
        data = frame.removeprefix("data: ")
        found.append(data if data == "[DONE]" else json.loads(data))
    return found


def stream(
    url: str, secret: str, told: dict[str, Any] | None = None, *, model: str = "fake-chat", **fields: Any
) -> Reply:
    body = {"model": model, "messages": chat(), "stream": True, "fake": told or {}, **fields}
    return ask(url, "/chat/completions", secret=secret, body=body)


def test_it_works(client: openai.OpenAI, event_of: EventOf) -> None:
    reply = client.chat.completions.with_raw_response.create(
        model="fake-chat", messages=chat(), stream=True, max_tokens=5, stream_options={"include_usage": True}
    )
    chunks = list(reply.parse())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "word " * 5
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (3, 5)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["x-ratelimit-remaining-requests"] == "999999"

    event = event_of(reply.headers["x-request-id"])
    assert (event.prompt_tokens, event.completion_tokens, event.status) == (3, 5, 200)
    assert event.is_streamed
    assert not event.is_estimated
    assert event.first_token_ms is not None
    assert event.first_token_ms <= event.latency_ms


@pytest.mark.parametrize("model", ["fake-chat", "plain-chat"])
@pytest.mark.parametrize("told", SHAPES)
def test_usage_is_there_only_when_asked_for(
    url: str, secret: str, event_of: EventOf, model: str, told: dict[str, Any]
) -> None:
    plain = stream(url, secret, told, model=model, max_tokens=3)
    *chunks, done = events(plain.body)
    assert done == "[DONE]"
    assert all("usage" not in chunk and chunk["choices"] for chunk in chunks)
    assert event_of(plain.headers["x-request-id"]).completion_tokens == 3

    asked = stream(url, secret, told, model=model, max_tokens=3, stream_options={"include_usage": True})
    *chunks, last, done = events(asked.body)
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 3
    assert last["id"] == chunks[0]["id"]
    assert "logprobs" in chunks[0]["choices"][0], "nulls survive"


def test_the_server_is_always_asked_for_usage(url: str, secret: str, fake: FakeInferenceServer) -> None:
    stream(url, secret)
    assert fake.last().body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    stream(url, secret, model="plain-chat")
    assert fake.last().body["stream_options"] == {"include_usage": True}
    assert "timings_per_token" not in fake.last().body
    stream(url, secret, model="llama-chat")
    assert fake.last().body["timings_per_token"] is True


def test_a_server_without_counts_is_counted_for(url: str, secret: str, event_of: EventOf) -> None:
    reply = stream(url, secret, {"no_usage": True, "tokens": 6}, stream_options={"include_usage": True})
    assert events(reply.body)[-2]["usage"]["completion_tokens"] == 6
    event = event_of(reply.headers["x-request-id"])
    assert event.completion_tokens == 6
    assert event.prompt_tokens > 0
    assert event.is_estimated


@pytest.mark.parametrize("told", [{"die_after": 4}, {"error_after": 4}, {"error_after": 4, "error_line": True}])
@pytest.mark.parametrize("model", ["fake-chat", "plain-chat"])
def test_a_failure_on_the_way_ends_the_stream_with_an_error(
    url: str, secret: str, event_of: EventOf, told: dict[str, Any], model: str
) -> None:
    reply = stream(url, secret, {**told, "tokens": 9, "rate": 200}, model=model)
    *chunks, last = events(reply.body)
    assert last["error"]["type"] == "server_error"
    assert "[DONE]" not in chunks
    assert b"10.0.0.7" not in reply.body
    event = event_of(reply.headers["x-request-id"])
    assert (event.status, event.completion_tokens) == (502, 4)
    assert event.is_estimated


def test_the_sdk_raises_on_a_failure_on_the_way(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(
        model="fake-chat",
        messages=chat(),
        stream=True,
        extra_body={"fake": {"error_after": 2, "tokens": 5, "rate": 100}},
    )
    with pytest.raises(openai.APIError):
        list(chunks)


@pytest.mark.parametrize("told", BEFORE)
def test_a_failure_before_the_first_word_is_an_ordinary_error(url: str, secret: str, told: dict[str, Any]) -> None:
    reply = stream(url, secret, told)
    assert reply.status == 502
    assert reply.error["type"] == "server_error"
    assert b"10.0.0.7" not in reply.body


def test_a_revoked_keys_running_stream_ends_within_five_seconds(
    url: str, mint: Callable[..., str], stage: Stage, fake: FakeInferenceServer
) -> None:
    secret = mint()
    before = fake.ledger.requests
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(stream, url, secret, {"tokens": 10_000, "rate": 20})
        wait_for(lambda: fake.ledger.requests > before and fake.last().sent_tokens > 2)
        before_it = fake.last().sent_tokens
        revoke_key(key=ApiKey.objects.behind(secret).get(), by=stage.ada)
        *_chunks, last = events(running.result(timeout=20).body)
    assert last["error"]["code"] == "invalid_api_key"
    wait_for(lambda: fake.last().closed_by == "client")
    # Told by a clock that goes no faster than the machine.
    assert fake.last().sent_tokens - before_it <= 5 * 20


def test_a_key_revoked_before_the_first_event_is_no_fault_of_the_server(
    url: str, mint: Callable[..., str], stage: Stage, fake: FakeInferenceServer
) -> None:
    secret = mint()
    before = fake.ledger.requests
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(stream, url, secret, {"slow_events": 20}, model="pair")
        wait_for(lambda: fake.ledger.requests > before)
        revoke_key(key=ApiKey.objects.behind(secret).get(), by=stage.ada)
        reply = running.result(timeout=15)
    assert reply.status == 401
    assert fake.ledger.requests == before + 1, "it is not tried again"

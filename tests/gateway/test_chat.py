"""Chat completions through the gateway, with the customers' own client."""

import asyncio
from collections.abc import Callable

import openai
import pytest

from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import ask, chat
from usage.models import UsageEvent

EventOf = Callable[[str], UsageEvent]


def test_it_works(client: openai.OpenAI, fake: FakeInferenceServer, event_of: EventOf) -> None:
    reply = client.chat.completions.with_raw_response.create(model="fake-chat", messages=chat(), max_tokens=5)
    answer = reply.parse()
    assert answer.choices[0].message.content == "word " * 5
    assert answer.model == "fake-chat"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 5)
    assert fake.last().authorization == "Bearer sesame"
    request_id = reply.headers["x-request-id"]
    assert request_id.startswith("req_")
    assert reply.headers["x-ratelimit-limit-requests"] == "1000000"
    assert int(reply.headers["openai-processing-ms"]) < 2000
    assert reply.headers["openai-organization"].startswith("org_")
    assert "gateway;dur=" in reply.headers["server-timing"]

    event = event_of(request_id)
    assert (event.prompt_tokens, event.completion_tokens, event.status) == (3, 5, 200)
    assert (event.model, event.backend, event.endpoint) == ("fake-chat", "gw-fake", "chat/completions")
    assert not event.is_estimated
    assert not event.is_streamed
    assert event.cost_nano == 0
    assert event.client == f"openai-python {openai.__version__}"
    assert (event.asked_model, event.deployment, event.retries, event.failovers) == ("", "", 0, 0)


@pytest.mark.parametrize(("said", "retries"), [("2", 2), ("-1", 0), ("two", 0), ("9999", 0)])
def test_a_call_that_the_client_made_before(client: openai.OpenAI, event_of: EventOf, said: str, retries: int) -> None:
    reply = client.chat.completions.with_raw_response.create(
        model="renamed", messages=chat(), max_tokens=1, extra_headers={"x-stainless-retry-count": said}
    )
    event = event_of(reply.headers["x-request-id"])
    assert (event.retries, event.deployment) == (retries, "/srv/models/secret-path")


async def _ask_async(url: str, secret: str) -> str:
    async with openai.AsyncOpenAI(base_url=url, api_key=secret, max_retries=0) as sdk:
        answer = await sdk.chat.completions.create(model="fake-chat", messages=chat(), max_tokens=2)
        stream = await sdk.chat.completions.create(model="fake-chat", messages=chat(), max_tokens=2, stream=True)
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return (answer.choices[0].message.content or "") + "".join(words)


def test_the_async_client_works(url: str, secret: str) -> None:
    assert asyncio.run(_ask_async(url, secret)) == "word " * 4


def test_a_paid_model_costs_what_its_prices_say(client: openai.OpenAI, event_of: EventOf) -> None:
    reply = client.chat.completions.with_raw_response.create(model="paid-chat", messages=chat(), max_tokens=5)
    event = event_of(reply.headers["x-request-id"])
    assert event.cost_nano == 3 * 1 + 5 * 10


def test_llama_cpp_is_sent_what_it_is_known_to_read(url: str, secret: str, fake: FakeInferenceServer) -> None:
    body = {"messages": chat(), "temperature": 0, "min_p": 0.1, "speculative.n_max": 10_000, "some_new_field": 1}
    for model in ("fake-chat", "llama-chat"):
        assert ask(url, "/chat/completions", secret=secret, body={"model": model, **body}).status == 200
        kept = {"speculative.n_max", "some_new_field"} if model == "fake-chat" else set()
        assert fake.last().body.keys() == {"model", "messages", "temperature", "min_p"} | kept


def test_the_name_at_the_backend_stays_inside(client: openai.OpenAI, fake: FakeInferenceServer) -> None:
    answer = client.chat.completions.create(model="renamed", messages=chat(), max_tokens=1)
    assert fake.last().body["model"] == "/srv/models/secret-path"
    assert answer.model == "renamed"
    chunks = list(client.chat.completions.create(model="renamed", messages=chat(), max_tokens=1, stream=True))
    assert {chunk.model for chunk in chunks} == {"renamed"}


def test_unknown_fields_reach_the_server(client: openai.OpenAI, fake: FakeInferenceServer) -> None:
    client.chat.completions.create(
        model="fake-chat", messages=chat(), max_tokens=1, extra_body={"top_k": 7, "chat_template_kwargs": {"a": None}}
    )
    body = fake.last().body
    assert body["top_k"] == 7
    assert body["chat_template_kwargs"] == {"a": None}
    assert "stream_options" not in body


def test_a_server_that_counts_nothing_is_counted_for(client: openai.OpenAI, event_of: EventOf) -> None:
    reply = client.chat.completions.with_raw_response.create(
        model="fake-chat", messages=chat(), extra_body={"fake": {"no_usage": True, "tokens": 6}}
    )
    usage = reply.parse().usage
    assert usage is not None
    assert usage.completion_tokens > 0
    event = event_of(reply.headers["x-request-id"])
    assert event.is_estimated
    assert event.completion_tokens == usage.completion_tokens


@pytest.mark.parametrize("header", ["x-api-key", "api-key"])
def test_other_sdks_headers_carry_a_key_too(url: str, secret: str, header: str) -> None:
    assert ask(url, "/models", method="GET", headers={header: secret}).status == 200


def test_a_call_that_ends_a_server_is_not_handed_to_the_next(url: str, secret: str, fake: FakeInferenceServer) -> None:
    def sent(**told: object) -> tuple[int, int]:
        before = fake.ledger.requests
        body = {"model": "pair", "messages": chat(), "fake": told}
        return ask(url, "/chat/completions", secret=secret, body=body).status, fake.ledger.requests - before

    fake.stop()
    assert sent()[0] == 502
    fake.start()
    assert sent(die_after=0) == (502, 1), "on a new connection it can only be the call"
    assert sent() == (200, 1)
    assert sent(die_after=0) == (502, 2), "a kept connection may have been closing: once more, to the same server"
    assert fake.ledger.entries[-1].authorization == fake.ledger.entries[-2].authorization
    assert sent(status=500) == (502, 1)
    assert sent(status=503) == (503, 2)


def test_a_large_answer_is_delivered_and_counted(url: str, secret: str, event_of: EventOf) -> None:
    body = {"model": "renamed", "messages": chat(), "max_tokens": 5, "fake": {"padding": 5_000_000}}
    reply = ask(url, "/chat/completions", secret=secret, body=body)
    assert len(reply.body) > 5_000_000
    assert (reply.json["model"], reply.json["usage"]["completion_tokens"]) == ("renamed", 5)
    event = event_of(reply.headers["x-request-id"])
    assert (event.prompt_tokens, event.completion_tokens, event.is_estimated) == (3, 5, False)
    body["fake"] = {"padding": 5_000_000, "no_usage": True}
    reply = ask(url, "/chat/completions", secret=secret, body=body)
    assert reply.json["usage"]["completion_tokens"] == 5, "an estimate, of no more than was asked for"
    event = event_of(reply.headers["x-request-id"])
    assert (event.completion_tokens, event.is_estimated) == (5, True)


def test_a_request_that_llama_cpp_calls_a_fault_of_its_own(url: str, secret: str, event_of: EventOf) -> None:
    error = {"code": 500, "message": "Failed to parse messages: Missing tool call type: 7", "type": "server_error"}
    body = {"model": "fake-chat", "messages": chat(), "fake": {"status": 500, "body": {"error": error}}}
    reply = ask(url, "/chat/completions", secret=secret, body=body)
    assert (reply.status, reply.error["param"]) == (400, "messages")
    assert event_of(reply.headers["x-request-id"]).status == 400


def test_failover_before_the_first_byte(client: openai.OpenAI, event_of: EventOf) -> None:
    for _attempt in range(3):
        reply = client.chat.completions.with_raw_response.create(model="twin", messages=chat(), max_tokens=1)
        assert event_of(reply.headers["x-request-id"]).backend == "gw-fake"

"""Limits of a key on a live gateway, under concurrency, and what a refusal tells an SDK."""

import asyncio
import contextlib
import random
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import openai
import pytest

from apikeys.models import ApiKey
from common import redis
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Host, Stage, ask, chat, wait_for
from usage.models import UsageEvent

Mint = Callable[..., str]
GO_DURATION = re.compile(r"(\d+m)?\d+(\.\d+)?(ms|s)")


def complete(url: str, secret: str, **body: Any) -> Any:
    return ask(url, "/chat/completions", secret=secret, body={"model": "fake-chat", "messages": chat(), **body})


async def _crowd(urls: Sequence[str], secret: str, callers: int, body: dict[str, Any]) -> list[int]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(url: str) -> int:
            async with session.post(
                f"{url}/chat/completions", json=body, headers={"Authorization": f"Bearer {secret}"}
            ) as response:
                await response.read()
                return response.status

        return await asyncio.gather(*(call(urls[number % len(urls)]) for number in range(callers)))


def crowd(urls: str | Sequence[str], secret: str, callers: int, **fields: Any) -> list[int]:
    """The statuses of `callers` calls made at once, to one gateway or to several in turn."""
    urls = [urls] if isinstance(urls, str) else urls
    return asyncio.run(
        _crowd(urls, secret, callers, {"model": "fake-chat", "messages": chat(), "max_tokens": 1, **fields})
    )


def test_it_works(url: str, mint: Mint) -> None:
    secret = mint(requests_per_minute=3)
    replies = [complete(url, secret) for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["2", "1", "0", "0"]
    for reply in replies:
        assert reply.headers["x-ratelimit-limit-requests"] == "3"
        assert GO_DURATION.fullmatch(reply.headers["x-ratelimit-reset-requests"])
        assert GO_DURATION.fullmatch(reply.headers["x-ratelimit-reset-tokens"])
    refused = replies[-1]
    assert refused.error["type"] == "requests"
    assert refused.error["code"] == "rate_limit_exceeded"
    assert "Limit 3, Used 3, Requested 1. Please try again in" in refused.error["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "x-should-retry" not in refused.headers


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"requests_per_minute": 1}, "rate_limit_exceeded"),
        ({"monthly_budget_nano": 1}, "key_monthly_budget"),
    ],
)
def test_what_a_limit_refuses_is_in_the_usage(
    url: str, mint: Mint, event_of: Callable[[str], UsageEvent], limits: dict[str, int], code: str
) -> None:
    secret = mint(**limits)
    replies = [complete(url, secret, model="paid-chat", max_tokens=5) for _ in range(2)]
    event = event_of(replies[-1].headers["x-request-id"])
    assert (event.status, event.error_code, event.backend, event.cost_nano) == (429, code, "", 0)


def test_exactly_the_limit_passes_of_a_crowd(url: str, mint: Mint) -> None:
    statuses = crowd(url, mint(requests_per_minute=50), 200)
    assert statuses.count(200) == 50
    assert statuses.count(429) == 150


def test_tokens_a_minute(url: str, mint: Mint) -> None:
    secret = mint(tokens_per_minute=200)
    first = complete(url, secret, max_tokens=100, fake={"tokens": 100})
    assert first.status == 200
    second = complete(url, secret, max_tokens=100)
    assert second.status == 429
    assert second.error["type"] == "tokens"
    assert "tokens per min (TPM): Limit 200, Used 103" in second.error["message"], "what it used, not what it reserved"
    impossible = complete(url, secret, max_tokens=500)
    assert impossible.error["message"].startswith("Request too large")
    assert impossible.headers["x-should-retry"] == "false"
    assert "retry-after" not in impossible.headers


def test_a_small_limit_admits_calls_that_set_no_bound(url: str, mint: Mint) -> None:
    secret = mint(tokens_per_minute=100)
    assert complete(url, secret, fake={"tokens": 5}).status == 200
    assert complete(url, secret, fake={"tokens": 5}).status == 200


def test_calls_at_the_same_time(url: str, mint: Mint, fake: FakeInferenceServer) -> None:
    secret, before = mint(concurrent_requests=5), fake.ledger.requests
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(complete, url, secret, fake={"held": True}) for _number in range(20)]
        wait_for(lambda: sum(one.done() for one in calls) == 15 and fake.ledger.requests == before + 5, seconds=15)
        fake.release()
    statuses = [one.result().status for one in calls]
    assert (statuses.count(200), statuses.count(429)) == (5, 15)
    assert crowd(url, secret, 5) == [200] * 5, "slots are free again"


def fifty_pass(urls: Sequence[str], mint: Mint, event_of: Callable[[str], UsageEvent]) -> None:
    """Of 200 callers at once, as many as the budget is for are answered, and all others are told why not."""
    # Of a server that counts more than was reserved, a call costs what was reserved.
    body: dict[str, Any] = {"model": "paid-chat", "max_tokens": 1, "fake": {"prompt_tokens": 10_000}}
    one = complete(urls[0], mint(monthly_budget_nano=10**9), **body)
    cost = event_of(one.headers["x-request-id"]).cost_nano
    secret = mint(monthly_budget_nano=50 * cost)
    statuses = crowd(urls, secret, 200, **body)
    assert (statuses.count(200), statuses.count(429)) == (50, 150)


def test_a_budget_for_fifty_calls_is_for_fifty(url: str, mint: Mint, event_of: Callable[[str], UsageEvent]) -> None:
    fifty_pass([url], mint, event_of)


# How calls end: what the server is told, and when the client hangs up if it does.
ENDS: list[tuple[dict[str, Any], float | None]] = [
    ({"tokens": 3}, None),
    ({"status": 500}, None),
    ({"status": 429}, None),
    ({"tokens": 9, "die_after": 2}, None),
    ({"tokens": 9, "stall_after": 2}, None),
    ({"slow_headers": 30}, None),
    ({"bad_json": True}, None),
    ({"slow_headers": 30}, 0.03),
    ({"slow_events": 30}, 0.05),
    ({"tokens": 10_000, "rate": 100}, 0.06),
]


async def _ends(url: str, secret: str, model: str, calls: int) -> set[int]:
    """The statuses of that many calls that end in any way, a dozen at a time."""
    chance, seen, turns = random.Random(9), set[int](), asyncio.Semaphore(12)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(told: dict[str, Any], patience: float | None, streams: bool) -> None:
            body = {"model": model, "messages": chat(), "stream": streams, "fake": told}
            head = {"Authorization": f"Bearer {secret}"}
            async with turns:
                with contextlib.suppress(TimeoutError, aiohttp.ClientPayloadError):
                    async with (
                        asyncio.timeout(patience),
                        session.post(f"{url}/chat/completions", json=body, headers=head) as response,
                    ):
                        seen.add(response.status)
                        await response.read()

        await asyncio.gather(*(call(*chance.choice(ENDS), chance.random() < 0.6) for _ in range(calls)))
    return seen


def test_whatever_ends_calls_no_slot_stays_taken(url: str, mint: Mint, host: Host, stage: Stage) -> None:
    model = host({"first_byte_timeout_seconds": 0.1, "idle_timeout_seconds": 0.1})
    secret = mint(concurrent_requests=8)
    key = ApiKey.objects.behind(secret).get()
    base = f"ly:{{{stage.project.organization.public_id}}}:"
    client: Any = redis.durable()
    most, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.002):
            most.append(client.zcard(f"{base}key:{key.public_id}:running"))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        seen = asyncio.run(_ends(url, secret, model, 300))
    finally:
        is_over.set()
        watching.join()
    assert {200, 429, 502, 504} <= seen
    assert max(most) == 8
    wait_for(lambda: client.zcard(f"{base}key:{key.public_id}:running") == 0)
    assert not any(hold for hold in client.hvals(f"{base}holds") if key.public_id in hold)
    assert crowd(url, secret, 8) == [200] * 8


def test_a_spent_budget_says_not_to_retry(url: str, mint: Mint) -> None:
    secret = mint(monthly_budget_nano=1)
    reply = complete(url, secret, model="paid-chat", max_tokens=5)
    assert reply.status == 429
    assert reply.error["type"] == "insufficient_quota"
    assert reply.error["code"] == "insufficient_quota"
    assert "The monthly budget of this key does not cover this call" in reply.error["message"]
    assert reply.headers["x-should-retry"] == "false"
    assert "retry-after" not in reply.headers
    asked: list[object] = []
    http = openai.DefaultHttpxClient(event_hooks={"request": [asked.append]})
    with openai.OpenAI(base_url=url, api_key=secret, http_client=http) as sdk, pytest.raises(openai.RateLimitError):
        sdk.chat.completions.create(model="paid-chat", messages=chat())
    assert len(asked) == 1, "the SDK did not try again"


def test_a_free_model_is_never_blocked_by_money(url: str, mint: Mint) -> None:
    assert complete(url, mint(monthly_budget_nano=0)).status == 200


def test_a_bound_is_written_upstream_only_for_a_budget(url: str, mint: Mint, fake: FakeInferenceServer) -> None:
    complete(url, mint(monthly_budget_nano=10**9), model="paid-chat")
    assert fake.last().body["max_tokens"] == 4096
    complete(url, mint(), model="paid-chat")
    assert "max_tokens" not in fake.last().body
    complete(url, mint(monthly_budget_nano=10**9))
    assert "max_tokens" not in fake.last().body


@pytest.mark.parametrize("model", ["plain-chat", "ollama-chat", "llama-chat", "fake-chat"])
def test_a_server_is_told_a_limit_by_the_name_it_knows(
    url: str, secret: str, fake: FakeInferenceServer, model: str
) -> None:
    for fields in ({"max_completion_tokens": 3}, {"max_completion_tokens": 2, "max_tokens": 3}):
        body = {"model": model, "messages": chat(), **fields}
        assert ask(url, "/chat/completions", secret=secret, body=body).status == 200
        assert fake.last().body["max_tokens"] == 3
        assert "max_completion_tokens" not in fake.last().body


@pytest.mark.parametrize(
    ("model", "told"), [("plain-chat", 1), ("ollama-chat", 1), ("llama-chat", 0), ("fake-chat", 0)]
)
def test_a_server_that_would_take_none_for_no_limit_is_told_one(
    url: str, secret: str, fake: FakeInferenceServer, model: str, told: int
) -> None:
    body = {"model": model, "prompt": "one two three", "max_tokens": 0, "echo": True}
    assert ask(url, "/completions", secret=secret, body=body).status == 200
    assert fake.last().body["max_tokens"] == told

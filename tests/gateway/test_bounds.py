"""What no field bounds the answer of: no crowd overruns a budget or limit with it, and what fits is not refused."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from apikeys.models import ApiKey
from tests.fakes.apis import PICTURE
from tests.gateway.conftest import wait_for
from tests.sounds import wav
from usage.ingest import drain
from usage.models import UsageEvent

Mint = Callable[..., str]
# Nano-dollars a token of `paid-all` costs, coming in and going out.
PRICE_IN, PRICE_OUT = 1, 10
WORDS = "one two three"

CLIP = wav(3)
DRAWN = b"\x89PNG\r\n" * 100
# What is sent besides the model, and the field that a server's answer has its results in.
FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "audio/transcriptions": ({"file": CLIP}, "text"),
    "audio/translations": ({"file": CLIP}, "text"),
    "images/edits": ({"image": DRAWN, "prompt": WORDS, "n": "2"}, "data"),
}
OBJECTS: dict[str, tuple[dict[str, Any], str]] = {
    "images/generations": ({"prompt": WORDS, "n": 2}, "data"),
    "rerank": ({"query": WORDS, "documents": ["two", "three"]}, "results"),
    "moderations": ({"input": WORDS}, "results"),
    "audio/speech": ({"input": WORDS, "voice": "alloy"}, ""),
    "embeddings": ({"input": [WORDS]}, "data"),
}
RESULTS: dict[str, Any] = {"text": "word", "data": [{"b64_json": PICTURE}], "results": [{}]}
# What is let in while any money is left, and the most tokens of it: 3 seconds, and the 30 that a piece may have.
MOST_TOKENS = {
    "audio/transcriptions": 33 * 50 + 4096,
    "audio/translations": 33 * 50 + 4096,
    "images/edits": 3 * 16_384,
    "images/generations": 2 * 16_384,
}
MAY_OVERRUN = list(MOST_TOKENS)


def told(path: str, tokens: int, **more: Any) -> dict[str, Any]:
    """Has the server answer that it counted so many tokens, both ways."""
    results = (FORMS | OBJECTS)[path][1]
    if not results:
        return more
    usage = {"prompt_tokens": tokens, "completion_tokens": tokens, "total_tokens": 2 * tokens}
    return {"status": 200, "body": {results: RESULTS[results], "usage": usage}, **more}


async def _crowd(url: str, secret: str, path: str, callers: int, answer: dict[str, Any]) -> list[int]:
    fields = {"model": "paid-embed" if path == "embeddings" else "paid-all", **(FORMS | OBJECTS)[path][0]}
    head = {"Authorization": f"Bearer {secret}"}

    def body() -> dict[str, Any]:
        if path not in FORMS:
            return {"json": {**fields, "fake": answer}}
        form = aiohttp.FormData()
        for name, value in {**fields, "fake": json.dumps(answer)}.items():
            form.add_field(name, value, filename=name if isinstance(value, bytes) else None)
        return {"data": form}

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call() -> int:
            async with session.post(f"{url}/{path}", headers=head, **body()) as response:
                await response.read()
                return response.status

        return await asyncio.gather(*(call() for _ in range(callers)))


def answered_of(url: str, secret: str, path: str, callers: int, answer: dict[str, Any]) -> list[UsageEvent]:
    """Those of that many calls at once that were answered."""
    statuses = asyncio.run(_crowd(url, secret, path, callers, answer))
    assert set(statuses) <= {200, 429}
    key = ApiKey.objects.behind(secret).get()
    found = UsageEvent.objects.filter(key_id=key.public_id, status=200)

    def are_there() -> bool:
        drain()
        return found.count() == statuses.count(200)

    wait_for(are_there)
    return list(found)


def crowd(url: str, secret: str, path: str, callers: int, answer: dict[str, Any]) -> tuple[int, int]:
    """How many of that many calls at once were answered, and what these cost together."""
    found = answered_of(url, secret, path, callers, answer)
    return len(found), sum(event.cost_nano for event in found)


@pytest.mark.parametrize("path", MAY_OVERRUN)
def test_it_works(url: str, mint: Mint, path: str) -> None:
    """What costs a budget all but nothing is let in, however much it could have cost; and when nothing is left, not."""
    secret = mint(monthly_budget_nano=1000)
    assert crowd(url, secret, path, 1, told(path, 50)) == (1, 50 * PRICE_IN + 50 * PRICE_OUT)
    statuses = [asyncio.run(_crowd(url, secret, path, 1, told(path, 50)))[0] for _ in range(2)]
    assert statuses == [200, 429]


@pytest.mark.parametrize("path", [*FORMS, *OBJECTS])
def test_a_crowd_overruns_a_budget_by_no_more_than_the_last_of_it(url: str, mint: Mint, path: str) -> None:
    """A server that counts 50,000 tokens of anything is not believed more than there can be."""
    _answered, most = crowd(url, mint(monthly_budget_nano=10**12), path, 1, told(path, 50_000, slow_headers=0.0))
    budget = 5 * most // 2
    answered, spent = crowd(url, mint(monthly_budget_nano=budget), path, 60, told(path, 50_000, slow_headers=0.5))
    if path in MAY_OVERRUN:
        assert (answered, spent) == (3, 3 * most)
    else:
        assert spent <= budget


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("audio/transcriptions", 33 * 50 * PRICE_IN + 4096 * PRICE_OUT),
        ("audio/translations", 33 * 50 * PRICE_IN + 4096 * PRICE_OUT),
        ("images/generations", 2 * 16_384 * PRICE_OUT),
        ("images/edits", 16_384 * PRICE_IN + 2 * 16_384 * PRICE_OUT),
    ],
)
def test_an_honest_count_is_charged_as_it_is(url: str, mint: Mint, path: str, most: int) -> None:
    """Up to what there can be, which the words that were sent along add little to."""
    answered, cost = crowd(url, mint(monthly_budget_nano=10**9), path, 1, told(path, most // 20))
    assert (answered, cost) == (1, most // 20 * (PRICE_IN + PRICE_OUT))
    answered, cost = crowd(url, mint(monthly_budget_nano=10**9), path, 1, told(path, 50_000))
    assert most < cost < most + 500 * PRICE_IN


@pytest.mark.parametrize("limit", ["tokens_per_minute", "tokens_per_day"])
@pytest.mark.parametrize("path", MAY_OVERRUN)
def test_a_crowd_overruns_a_limit_on_tokens_by_no_more_than_the_last_of_it(
    url: str, mint: Mint, path: str, limit: str
) -> None:
    most = MOST_TOKENS[path]
    secret = mint(**{limit: 5 * most // 2})
    found = answered_of(url, secret, path, 60, told(path, most // 2, slow_headers=0.5))
    assert [event.prompt_tokens + event.completion_tokens for event in found] == [most] * 3
    assert asyncio.run(_crowd(url, secret, path, 1, told(path, 1))) == [429]


@pytest.mark.parametrize("limit", ["tokens_per_minute", "tokens_per_day"])
@pytest.mark.parametrize("path", MAY_OVERRUN)
def test_what_takes_few_tokens_is_let_in_while_any_are_left(url: str, mint: Mint, path: str, limit: str) -> None:
    secret = mint(**{limit: 100})
    statuses = [asyncio.run(_crowd(url, secret, path, 1, told(path, 20)))[0] for _ in range(4)]
    assert statuses == [200, 200, 200, 429]

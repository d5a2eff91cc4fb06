"""What cannot be a key costs nothing, and nothing that is written where a key belongs does harm (no database here)."""

import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import settings
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from starlette.datastructures import Headers

from apikeys.verification import KIND_PARTS, RANDOM_LENGTH, kind_of, new_secret, prefix_of
from common import redis as servers
from common.errors import IncorrectKeyError
from common.ids import ALPHABET
from gateway.asgi import application
from gateway.authentication import authenticate
from usage.link import RedisLink
from usage.policies import Policies

JUNK = 100_000


@pytest.fixture
def commands() -> Iterator[Callable[[], list[str]]]:
    """What Redis is asked in this process's database while the test runs, but for pings."""
    database = servers.durable().connection_pool.connection_kwargs["db"]
    seen: list[str] = []
    listening, done = threading.Event(), "the-end-of-the-test"

    def listen() -> None:
        # Without the time-outs of the portal's clients: nothing may happen for as long as it likes.
        client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)
        with client.monitor() as monitor:  # type: ignore[no-untyped-call]
            listening.set()
            for command in monitor.listen():
                text = command["command"]
                if done in text:
                    return
                if command["db"] == database and not text.startswith(("PING", "CLIENT", "SELECT", "AUTH")):
                    seen.append(text)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert listening.wait(5)

    def stop() -> list[str]:
        servers.durable().get(done)
        thread.join(10)
        return seen

    yield stop
    if thread.is_alive():
        stop()


def with_policies(work: Callable[[Policies], Awaitable[None]]) -> None:
    async def run() -> None:
        link = RedisLink()
        await link.start()
        try:
            await work(Policies(link))
        finally:
            await link.close()

    asyncio.run(run())


async def refused(policies: Policies, presented: str) -> bool:
    try:
        await authenticate(Headers({"authorization": f"Bearer {presented}"}), policies, address="192.0.2.1")
    except IncorrectKeyError:
        return True
    return False


def junk() -> Iterator[str]:
    """Right in all but the checksum."""
    for number in range(JUNK):
        prefix = prefix_of(list(KIND_PARTS)[number % 3])
        text = secrets.token_hex(18)
        yield f"{prefix}_{text}"


def test_a_flood_of_junk_keys_asks_nobody(commands: Callable[[], list[str]]) -> None:
    """PostgreSQL is closed to this test: a single question to it would be an error."""

    async def flood(policies: Policies) -> None:
        assert all([await refused(policies, text) for text in junk()])

    with_policies(flood)
    assert commands() == []


def test_a_well_formed_key_is_asked_for_once(commands: Callable[[], list[str]]) -> None:
    """The control of the test above: what is counted there is counted."""

    async def one(policies: Policies) -> None:
        with pytest.raises(Exception, match="Database access not allowed"):
            await refused(policies, new_secret())

    with_policies(one)
    assert [command.split()[0] for command in commands()] == ["GET"]


def test_no_random_text_passes_for_a_key() -> None:
    assert not any(kind_of(text) for text in junk())


async def answer(headers: list[tuple[bytes, bytes]]) -> int:
    """The status with which the gateway answers a request for the models."""
    statuses: list[int] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/models",
        "raw_path": b"/v1/models",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("192.0.2.1", 1),
    }
    await application(scope, receive, send)
    return statuses[0]


@pytest.fixture(scope="module", autouse=True)
def policies() -> None:
    """Policies without a connection: whatever is looked up fails the test."""
    from gateway.asgi import gateway

    gateway.policies = Policies(RedisLink())


def near_keys() -> st.SearchStrategy[str]:
    """Text that begins like a key, with anything where the rest belongs."""
    prefixes = st.sampled_from([f"{settings.API_KEY_PREFIX}{part}_" for part in KIND_PARTS.values()])
    rest = st.one_of(st.text(max_size=60), st.text(ALPHABET, min_size=RANDOM_LENGTH + 6, max_size=RANDOM_LENGTH + 6))
    return st.builds(lambda prefix, text: prefix + text, prefixes, rest)


VALUES = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda text: text.encode("utf-8", "surrogatepass"), st.one_of(st.text(max_size=200), near_keys())),
    st.sampled_from(
        [b"' OR '1'='1", b"\x00", b"Bearer", b"bearer  ", b"Basic eDp5", b"x" * 100_000, "é".encode() * 600]
    ),
)
NAMES = (b"authorization", b"x-api-key", b"api-key", b"x-forwarded-for", b"user-agent")
SCHEMES = (b"", b"Bearer ", b"bearer ", b"Basic ", b"Bearer\t")


@how(max_examples=400, deadline=None)
@given(VALUES)
def test_no_header_is_anything_but_refused(value: bytes) -> None:
    """Each value in every header and after every scheme: 10,000 in all."""

    async def ask() -> set[int]:
        return {await answer([(name, scheme + value)]) for name in NAMES for scheme in SCHEMES}

    assert asyncio.run(ask()) == {401}

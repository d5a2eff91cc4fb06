"""What checking a key costs where its policy is at hand and where it is not, and pages of few and of 10,000 keys."""

import asyncio
import secrets
import time
from typing import Any, cast

from django.db import connection
from django.test import Client
from starlette.datastructures import Headers

from accounts.models import User
from accounts.services import open_workspace
from apikeys.models import ApiKey, KeySecret
from apikeys.services import mint_key
from apikeys.terms import Terms
from apikeys.verification import digests_of, prefix_of
from benchmarks.rounds import best_of_rounds
from common import redis as servers
from common.errors import IncorrectKeyError
from common.ids import new_id
from gateway.authentication import authenticate
from usage.link import RedisLink
from usage.policies import Policies, redis_key

CHECKS = 20_000
# PostgreSQL counts what a session ended up to a second late.
LATE_SECONDS = 2.0
FLOOD = 1_000_000
COLD_CHECKS = 300
SIZES = {"few": 10, "full": 100, "many": 10_000}
QUIET = {"ping", "info", "client", "hello", "auth", "select"}
ADDRESS = "10.1.2.3"
RESTRICTED = Terms(
    allowed_models=("fake-chat",),
    allowed_endpoints=("chat/completions",),
    allowed_networks=("192.0.2.0/24", "2001:db8::/32", "10.0.0.0/8"),
)
PAGES = {"keys": "/keys/", "keys by name": "/keys/?sort=name", "key health": "/keys/health/", "API": "/api/keys/"}


def main() -> None:
    """Print the section of the page."""
    # Before anything else is asked, which would be counted with it.
    flood = _flood()
    user = User.objects.create_user("keys@example.com", name="Grace")
    project = open_workspace(user=user)
    keys = [mint_key(project=project, name="bench", by=user, terms=RESTRICTED)[1] for _number in range(COLD_CHECKS)]
    # For some seconds after a change nobody keeps a policy in Redis; these were changed long ago.
    servers.durable().delete(*(redis_key(digest) for secret in keys for digest in digests_of(secret)))
    figures = asyncio.run(_verification(keys))
    print(section({**figures, **flood, "pages": _pages()}))


def section(keys: dict[str, Any]) -> str:
    """What the report says about keys."""
    pages = "\n".join(
        f"| {name} | {page['few']:.1f} | {page['full']:.1f} | {page['many']:.1f} | {page['many'] / page['full']:.2f} |"
        for name, page in keys["pages"].items()
    )
    return f"""Checking a key (checksum, hash, expiry, a list of three networks) takes **{keys["warm_ms"]:.3f} ms** of a
processor in a process that has its policy at hand, and asks Redis {keys["warm_commands"]} times in 20,000 checks. In a
process that has never seen the key, and that runs beside one that has within the last minute, it takes
{keys["cold_ms"]:.2f} ms with {keys["cold_commands"]:.2f} round trips to Redis,
{keys["cold_ms"] / keys["trip_ms"]:.2f} times a bare `GET`. What Redis kept from before a process has listened for
changes it does not trust: a key that nobody has used since takes {keys["unknown_ms"]:.1f} ms with PostgreSQL asked,
once.

A million guesses, each another and right in all but the checksum, are refused in {keys["junk_ms"]:.3f} ms of a
processor each, with {keys["junk_commands"]:,.0f} commands to Redis and {keys["junk_transactions"]:,.0f} transactions
in PostgreSQL, whose own upkeep is counted too.

Pages in milliseconds, by how many keys the project has. A page shows 50 of them, so that ten are less to draw; the
ratio is of 10,000 to 100. Of all pages key health asks most of every key.

| page | 10 keys | 100 keys | 10,000 keys | ratio |
| --- | ---: | ---: | ---: | ---: |
{pages}
"""


async def _verification(keys: list[str]) -> dict[str, float]:
    link = RedisLink()
    await link.start()
    headers = [Headers({"authorization": f"Bearer {secret}"}) for secret in keys]
    # As two processes have them: what one has looked up, the other finds in Redis.
    first, second = Policies(link), Policies(link)
    for policies in (first, second):
        policies.start()
    # Until they hear of changes: before that a policy is held for half a second only.
    await asyncio.sleep(3)

    unknown, _commands_of_unknown = await _each(first, headers)
    # Nobody waits for what is put there.
    await asyncio.sleep(1)
    cold, cold_commands = await _each(second, headers)

    before = _commands()
    # Of the processor: nothing is waited for, and a busy machine does not count.
    started = time.process_time()
    for _number in range(CHECKS):
        await authenticate(headers[0], second, address=ADDRESS)
    warm = (time.process_time() - started) / CHECKS
    warm_commands = _commands() - before
    for policies in (first, second):
        await policies.close()

    started = time.perf_counter()
    for _number in range(COLD_CHECKS):
        await link.execute("GET", "nothing")
    trip = (time.perf_counter() - started) / COLD_CHECKS
    await link.close()
    return {
        "warm_ms": warm * 1000,
        "warm_commands": warm_commands,
        "cold_ms": cold * 1000,
        "cold_commands": cold_commands,
        "unknown_ms": unknown * 1000,
        "trip_ms": trip * 1000,
    }


async def _each(policies: Policies, headers: list[Headers]) -> tuple[float, float]:
    """Seconds and questions to Redis for a key that these policies have not seen."""
    before = _commands()
    started = time.perf_counter()
    for one in headers:
        await authenticate(one, policies, address=ADDRESS)
    return (time.perf_counter() - started) / len(headers), (_commands() - before) / len(headers)


def _flood() -> dict[str, float]:
    """A million guesses that are right in all but the checksum, each another, and what they asked of the stores."""
    # Asking is a transaction as well, and opening the connection is some.
    _transactions()
    time.sleep(LATE_SECONDS)
    first, second = _transactions(), _transactions()
    asked = _all_commands()
    seconds = asyncio.run(_refuse_all())
    return {
        "junk_ms": seconds * 1000 / FLOOD,
        "junk_commands": _all_commands() - asked,
        "junk_transactions": _transactions() - second - (second - first),
    }


async def _refuse_all() -> float:
    """Seconds of processor."""
    link = RedisLink()
    await link.start()
    policies, prefix, refused = Policies(link), f"{prefix_of('project')}_", 0
    started = time.process_time()
    for _number in range(FLOOD):
        guess = Headers({"authorization": f"Bearer {prefix}{secrets.token_hex(18)}"})
        try:
            await authenticate(guess, policies, address=ADDRESS)
        except IncorrectKeyError:
            refused += 1
    seconds = time.process_time() - started
    await link.close()
    assert refused == FLOOD
    return seconds


def _all_commands() -> int:
    """What Redis was asked so far, but for what processes say to show that they live and what this asks itself."""
    stats = cast("dict[str, dict[str, int]]", servers.durable().info("commandstats"))
    return sum(
        found["calls"] for name, found in stats.items() if name.partition("|")[0].removeprefix("cmdstat_") not in QUIET
    )


def _transactions() -> int:
    """How many transactions PostgreSQL has ended in this database."""
    with connection.cursor() as cursor:
        # What a session counted is told at once, and read anew.
        cursor.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        cursor.execute("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
        (ended,) = cursor.fetchone()
    return int(ended)


def _commands() -> int:
    """How many policies Redis was asked for so far."""
    stats = servers.durable().info("commandstats")
    asked: int = stats.get("cmdstat_get", {}).get("calls", 0)  # type: ignore[union-attr]
    return asked


def _visitor(size: str, number: int) -> Client:
    """Somebody signed in whose project has that many keys."""
    user = User.objects.create_user(f"{size}@example.com", name=size)
    project = open_workspace(user=user)
    keys = ApiKey.objects.bulk_create(
        ApiKey(project=project, name=f"key {index:05}", prefix="lyc_test", last4="wxyz", created_by=user)
        for index in range(number)
    )
    KeySecret.objects.bulk_create(
        KeySecret(key=key, prefix="lyc_test", last4="wxyz", digest=new_id("digest"), pepper_version=1) for key in keys
    )
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def _pages() -> dict[str, dict[str, float]]:
    """Milliseconds of each page for each size."""
    visitors = {size: _visitor(size, number) for size, number in SIZES.items()}
    taken = best_of_rounds(
        {(name, size): (client, address) for name, address in PAGES.items() for size, client in visitors.items()}
    )
    return {name: {size: taken[name, size] for size in SIZES} for name in PAGES}

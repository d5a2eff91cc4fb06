"""What it costs to hold a call to its limits: time to admit and settle it, and what Redis remembers of a key."""

import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from statistics import median, quantiles
from typing import cast
from urllib.parse import urlsplit

import uvloop
from django.conf import settings

from benchmarks import ingest
from common import redis as servers
from common.ids import new_id
from common.limits import NO_LIMITS, Limits
from tests.services import open_budgets
from usage.admission import Admissions, Demand
from usage.events import STREAM
from usage.link import RedisLink
from usage.models import Source
from usage.policies import KEY, Caller, with_ceiling
from usage.spool import Spool

PLENTY = 10**12
SOME = Limits(requests_per_minute=10**6, concurrent_requests=100, monthly_budget_nano=PLENTY)
ALL = replace(
    SOME, tokens_per_minute=PLENTY, requests_per_day=10**6, tokens_per_day=PLENTY, gpu_seconds_per_day=10**6,
    daily_budget_nano=PLENTY, weekly_budget_nano=PLENTY,
)  # fmt: skip
CASES = {
    "none of its own": NO_LIMITS,
    "requests a minute and at a time, a budget a month": SOME,
    "all nine": ALL,
}
DEMAND = Demand(model="model-0", needed_tokens=120, wanted_tokens=632, most_nano=10_000)
COST_NANO = 168
TURNS = 10


def main(calls: int, keys: int) -> None:
    """Print the section of the page."""
    open_budgets()
    by_socket, by_port = settings.REDIS_URL, _by_port()
    rows = []
    for name, limits in CASES.items():
        took: dict[tuple[str, bool], list[float]] = {}
        # In turns: the machine may be slower in one moment than in the next.
        for turn in range(4 * TURNS):
            settings.REDIS_URL, is_awake = (by_socket, by_port)[turn % 2], turn % 4 < 2
            with _cores_kept_awake() if is_awake else nullcontext():
                work = _with_admissions(_in_turn([_caller(limits)], calls=calls // TURNS))
                took.setdefault((settings.REDIS_URL, is_awake), []).extend(uvloop.run(work))
        before = _remembered()
        uvloop.run(_with_admissions(_in_turn([_caller(limits) for _key in range(keys)], calls=1)))
        rows.append((name, took, (_remembered() - before) / keys))
    print(
        "To admit a call and to settle it, one after another over one connection on the gateway's event loop, to a "
        "Redis on the\nsame machine, by its Unix socket and by its port, in milliseconds: medians while other programs "
        "keep the cores awake,\nas they are in a gateway with work to do, and on a machine that does nothing else, "
        "whose cores fall asleep and are woken\ntwice for each command. And what Redis holds of a key that made a call "
        "within the minute, beside its policy.\n\n"
        "| limits of the key | by socket, awake | by port, awake | by socket, idle | by port, idle "
        "| p99 by socket, idle | bytes in Redis |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    for name, took, remembered in rows:
        medians = [median(took[url, is_awake]) for is_awake in (True, False) for url in (by_socket, by_port)]
        p99 = quantiles(took[by_socket, False], n=100)[98]
        figures = " | ".join(f"{seconds * 1000:.2f}" for seconds in (*medians, p99))
        print(f"| {name} | {figures} | {remembered:,.0f} |")


@contextmanager
def _cores_kept_awake() -> Iterator[None]:
    """Give every core work that makes room for any other."""
    command = [*("nice", "-n", "19"), sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(command) for _core in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _by_port() -> str:
    """The same Redis by the port that it listens on beside its socket."""
    port = cast("dict[str, str]", servers.durable().config_get("port"))["port"]
    return f"redis://:{urlsplit(settings.REDIS_URL).password}@127.0.0.1:{port}/0"


def _caller(limits: Limits) -> Caller:
    key_id = new_id("key")
    scope = with_ceiling(KEY, key_id, limits)
    return Caller(Source.KEY, new_id("org"), new_id("proj"), key_id, "", (scope,))


async def _with_admissions(work: Callable[[Admissions], Awaitable[list[float]]]) -> list[float]:
    link = RedisLink()
    await link.start()
    try:
        return await work(Admissions(link, Spool()))
    finally:
        await link.close()


def _in_turn(callers: list[Caller], *, calls: int) -> Callable[[Admissions], Awaitable[list[float]]]:
    """The seconds that each call takes; the first of each caller, for which its counters are filled, is not timed."""

    async def work(admissions: Admissions) -> list[float]:
        took = []
        for caller in callers:
            for number in range(calls + 1):
                event = replace(
                    ingest.event(0), organization_id=caller.organization_id, project_id=caller.project_id,
                    key_id=caller.key_id, cost_nano=COST_NANO,
                )  # fmt: skip
                started = time.perf_counter()
                admission = await admissions.admit(caller, DEMAND, id=event.id, lost=event)
                await admissions.settle(admission, event)
                if number:
                    took.append(time.perf_counter() - started)
        return took

    return work


def _remembered() -> int:
    """Bytes that Redis holds of keys, events left out, which the ledger takes, and its buffers, which come and go."""
    client = servers.durable()
    # A counter is filled from the events that wait, too.
    client.xtrim(STREAM, maxlen=0, approximate=False)
    pipeline = client.pipeline(transaction=False)
    for name in client.scan_iter("ly:{*", count=1000):
        pipeline.memory_usage(name, samples=0)
    return sum(pipeline.execute())

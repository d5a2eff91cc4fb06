"""Calls through this gateway and its peers: requests a second, waits, what is added to them, and processor time."""

import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import orjson

from benchmarks import targets
from benchmarks.load import Result, load
from benchmarks.page import table
from benchmarks.processes import used
from benchmarks.stack import CHAT, LARGE, Stack
from benchmarks.targets import FAKE, NGINX, OURS, Target

RUNS, SECONDS, QUICK_SECONDS = 3, 3.0, 0.5
CONNECTIONS = (1, 16, 128)
MESSAGES = [{"role": "user", "content": "Say hello in three languages, please, and one word about each."}]
LONG = [{"role": "user", "content": "lorem " * 175_000}]


@dataclass(frozen=True)
class Kind:
    """One way of asking."""

    name: str
    body: bytes
    connections: int
    first_event: bool = False
    rate: float | None = None


WHOLE = orjson.dumps({"model": CHAT, "messages": MESSAGES, "max_tokens": 16})
STREAMED = orjson.dumps({"model": CHAT, "messages": MESSAGES, "max_tokens": 16, "stream": True})
LONG_BODY = orjson.dumps({"model": LARGE, "messages": LONG, "max_tokens": 16})
WHOLES = tuple(Kind(str(number), WHOLE, number) for number in CONNECTIONS)
SIXTEEN = WHOLES[1]
# What most of the targets can keep up with on half a machine.
PACED = Kind("at a pace", WHOLE, 16, rate=300)
FIRST_EVENT = Kind("first event", STREAMED, 1, first_event=True)
LONG_BODIES = tuple(Kind(f"1 MB, {number}", LONG_BODY, number) for number in (1, 16))
KINDS = (*WHOLES, PACED, FIRST_EVENT, *LONG_BODIES)


@dataclass(frozen=True)
class Measured:
    """One run of one kind at one target; the processor's seconds are for 1,000 requests."""

    result: Result
    cpu_seconds: float | None


# The runs of each kind at each target, by their names.
Runs = dict[str, dict[str, list[Measured]]]


def measure(stack: Stack, *, is_quick: bool) -> str:
    """The section of the page. Fails when a call of ours failed, or is not in the ledger."""
    missing: list[str] = []
    runs: Runs = defaultdict(lambda: defaultdict(list))
    answered = 0
    with ExitStack() as parts:
        found = [
            target for name in targets.OPENERS if (target := targets.start(stack, name, parts, missing)) is not None
        ]
        for target in found:
            # The first calls of each kind are slow, LiteLLM's by most of a second.
            for kind in KINDS:
                warm = _ask(target, kind, seconds=QUICK_SECONDS)
                if target.name == OURS:
                    answered += warm.result.requests
        for number in range(1 if is_quick else RUNS):
            for kind in KINDS:
                for target in found:
                    measured = _ask(target, kind, seconds=QUICK_SECONDS if is_quick else SECONDS)
                    runs[kind.name][target.name].append(measured)
                    rate = measured.result.requests_per_second
                    print(f"run {number + 1}, {kind.name}: {target.name} {rate:.0f}/s", file=sys.stderr)
    of_ours = [measured.result for by_target in runs.values() for measured in by_target[OURS]]
    assert not any(result.failed for result in of_ours), of_ours
    answered += sum(result.requests for result in of_ours)
    metered = int(stack.shell("benchmarks.metered"))
    assert metered == answered, f"{answered} calls were answered, {metered} metered"
    return section(runs, missing, metered)


def _ask(target: Target, kind: Kind, *, seconds: float) -> Measured:
    before = used(target.pid) if target.pid else None
    result = load(
        target.url,
        kind.body,
        headers=target.headers,
        connections=kind.connections,
        seconds=seconds,
        first_event=kind.first_event,
        rate=kind.rate,
    )
    after = used(target.pid) if target.pid else None
    if before is None or after is None or not result.requests:
        return Measured(result, None)
    return Measured(result, (after.cpu_seconds - before.cpu_seconds) / result.requests * 1000)


def section(runs: Runs, missing: list[str], metered: int) -> str:
    """What the page says about these runs."""
    names = list(runs[WHOLES[0].name])
    rows = [_row(runs, kind, name) for kind in WHOLES for name in names]
    added = {kind.connections: _added(runs, kind, OURS) for kind in WHOLES}
    late = _added(runs, SIXTEEN, OURS, _p99)
    busy = _median(runs, WHOLES[-1], OURS).cpu_seconds
    core = "" if not busy else f" A core that does nothing else serves {1000 / busy:,.0f} calls/s."
    lacks = "".join(f"\n{reason}" for reason in missing)
    return f"""One web process of each. This gateway has everything on: a key under limits of requests, tokens, \
concurrency and
budget, a model that costs, admit and settle in Redis, the usage event. The fake inference server answers 16 tokens at
once; nginx is a plain proxy in front of it. The others are as their own documentation tunes them, without limits
and metering: {targets.versions()}. “{targets.BARE}” is a relay of uvicorn and aiohttp: what the
gateway, which is made with them, could cost at the least. Each line is the run with
the median wait of {_runs(runs)}, which went through all targets in turns. Added is the median beyond that of the fake
server alone.{lacks}

### Calls that are not streamed

{table(["connections", "target", "requests/s", "p50 ms", "p99 ms", "added ms", "CPU s per 1,000"], rows, words=2)}

At 16 connections the gateway adds {added[16]:.2f} ms at the median and {late:.2f} ms at p99, on one connection
{added[1]:.2f} ms.{core}

Its requests/s over those of the others, in each run:

{_ratios(runs, names)}

### At a pace

{PACED.rate:.0f} requests a second over {
        PACED.connections
    } connections, each in its turn: how long one waits on a machine that is not full. A turn that
comes late, since an answer was late, counts from when it was.

{
        table(
            ["target", "requests/s", "p50 ms", "p99 ms", "added ms", "added at p99", "CPU s per 1,000"],
            [_paced(runs, name) for name in names],
        )
    }

### First event of a stream

Milliseconds from the request to the first event, on one connection.

{table(["target", "p50 ms", "p99 ms", "added ms"], [_waits(runs, FIRST_EVENT, name) for name in names])}

### Bodies of 1 MB

A prompt of {len(LONG_BODY) / 1_000_000:.2f} MB, as a long context makes.

{
        table(
            ["connections", "target", "requests/s", "p50 ms", "p99 ms", "added ms", "CPU s per 1,000"],
            [_row(runs, kind, name) for kind in LONG_BODIES for name in names],
            words=2,
        )
    }

Each of the {metered:,} calls that the gateway answered here is in the ledger, and none is there twice.
"""


def _row(runs: Runs, kind: Kind, name: str) -> list[str]:
    measured = _median(runs, kind, name)
    result, cpu = measured.result, measured.cpu_seconds
    failed = f" ({result.failed} failed)" if result.failed else ""
    rate = f"{result.requests_per_second:,.0f}{failed}"
    return [str(kind.connections), *_waits(runs, kind, name, rate), "" if cpu is None else f"{cpu:.2f}"]


def _paced(runs: Runs, name: str) -> list[str]:
    _connections, *waits, cpu = _row(runs, PACED, name)
    late = "" if name == FAKE else f"{_added(runs, PACED, name, _p99):.2f}"
    return [*waits, late, cpu]


def _waits(runs: Runs, kind: Kind, name: str, *rate: str) -> list[str]:
    result = _median(runs, kind, name).result
    added = "" if name == FAKE else f"{_added(runs, kind, name):.2f}"
    return [name, *rate, f"{result.p50:.2f}", f"{result.p99:.2f}", added]


def _ratios(runs: Runs, names: list[str]) -> str:
    others = [name for name in names if name != OURS]
    head = ["connections", *(f"of {name}" if name in {FAKE, NGINX} else f"× {name}" for name in others)]
    return table(
        head, [[str(kind.connections), *(_ratio(runs[kind.name], other) for other in others)] for kind in WHOLES]
    )


def _ratio(by_target: dict[str, list[Measured]], other: str) -> str:
    pairs = zip(by_target[OURS], by_target[other], strict=True)
    rates = [(mine.result.requests_per_second, its.result.requests_per_second) for mine, its in pairs]
    digits = 3 if other in {FAKE, NGINX} else 1
    return ", ".join(f"{mine / its:.{digits}f}" if its else "∞" for mine, its in rates)


def _median(runs: Runs, kind: Kind, name: str) -> Measured:
    in_order = sorted(runs[kind.name][name], key=lambda measured: measured.result.p50)
    return in_order[len(in_order) // 2]


def _p50(result: Result) -> float:
    return result.p50


def _p99(result: Result) -> float:
    return result.p99


def _added(runs: Runs, kind: Kind, name: str, which: Callable[[Result], float] = _p50) -> float:
    """The median of what each run had more than the fake server alone had in it."""
    pairs = zip(runs[kind.name][name], runs[kind.name][FAKE], strict=True)
    return statistics.median(which(mine.result) - which(its.result) for mine, its in pairs)


def _runs(runs: Runs) -> str:
    number = len(runs[WHOLES[0].name][OURS])
    return "one run" if number == 1 else f"{number} runs"

"""Many streams at once: how late chunks come, what a stream costs, and how many are too many."""

import sys
from contextlib import ExitStack

import orjson

from benchmarks import targets
from benchmarks.listen import Heard, listen
from benchmarks.page import table
from benchmarks.stack import CHUNKS_PER_SECOND, STREAM, STREAM_SECONDS, Stack
from benchmarks.targets import FAKE, OURS, Target

STREAMS, FEWEST, MOST = 500, 250, 8_000
SECONDS, QUICK_SECONDS = 5.0, 1.0
# Two chunks late at this rate, where a reader begins to see it.
BOUND_MS = 100.0
# Of the chunks that so many streams send: less, and they wait somewhere without end.
SHARE = 0.9
BODY = orjson.dumps(
    {
        "model": STREAM,
        "messages": [{"role": "user", "content": "Count, please."}],
        "max_tokens": CHUNKS_PER_SECOND * STREAM_SECONDS,
        "stream": True,
    }
)


def measure(stack: Stack, *, is_quick: bool) -> str:
    """The section of the page."""
    streams, number, most = (50, 50, 100) if is_quick else (STREAMS, FEWEST, MOST)
    seconds = QUICK_SECONDS if is_quick else SECONDS
    missing: list[str] = []
    beside: dict[str, Heard] = {}
    for name in targets.OPENERS:
        # Each is stopped before the next: one that was asked too much goes on for long.
        with ExitStack() as parts:
            if (target := targets.start(stack, name, parts, missing)) is not None:
                beside[name] = _heard(target, streams, seconds)
    doubled: dict[int, tuple[Heard, Heard]] = {}
    with ExitStack() as parts:
        direct, ours = (targets.start(stack, name, parts, missing) for name in (FAKE, OURS))
        assert direct
        assert ours
        while number <= most:
            doubled[number] = (_heard(direct, number, seconds), _heard(ours, number, seconds))
            if not all(holds(heard) for heard in doubled[number]):
                break
            number *= 2
    return section(beside, doubled, missing)


def holds(heard: Heard) -> bool:
    """Whether all of them came, and soon enough."""
    sent = heard.asked * CHUNKS_PER_SECOND
    return (
        heard.started == heard.asked
        and not heard.failed
        and heard.p99 <= BOUND_MS
        and heard.chunks_per_second >= SHARE * sent
    )


def _heard(target: Target, streams: int, seconds: float) -> Heard:
    # What it takes for itself when first asked is not a stream's.
    listen(target.url, BODY, headers=target.headers, streams=10, seconds=0.5)
    heard = listen(target.url, BODY, headers=target.headers, streams=streams, seconds=seconds, pid=target.pid)
    print(f"{target.name}, {streams} streams: p99 {heard.p99:.1f} ms", file=sys.stderr)
    return heard


def section(beside: dict[str, Heard], doubled: dict[int, tuple[Heard, Heard]], missing: list[str]) -> str:
    """What the page says about these streams."""
    streams = beside[OURS].asked
    lacks = "".join(f"\n{reason}" for reason in missing)
    head = ["target", "began", "chunks/s", "p50 ms", "p99 ms", "CPU ms per stream and second", "KB per stream"]
    rows = [[str(number), *_delay(direct), *_delay(ours), *_cost(ours)] for number, (direct, ours) in doubled.items()]
    return f"""{streams} streams at once, each of {CHUNKS_PER_SECOND} chunks a second. A chunk says when it was sent, \
and its delay is what had gone by
when it was read; that of the fake server alone is the reader's own. Processor and memory are those of the gateway's
process, memory what it had grown by with all streams open.{lacks}

{table(head, [[name, f"{heard.started:,}", *_delay(heard), *_cost(heard)] for name, heard in beside.items()])}

The number doubles until the p99 of the delay passes {BOUND_MS:.0f} ms, a stream fails, or less than {SHARE:.0%} of the
chunks that so many streams have come through, of the fake server alone or of the gateway:

{
        table(
            [
                *("streams", "chunks/s alone", "p50 ms", "p99 ms", "chunks/s of Lyceum", "p50 ms", "p99 ms"),
                *("CPU ms per stream and second", "KB per stream"),
            ],
            rows,
        )
    }

{_end(doubled)}
"""


def _end(doubled: dict[int, tuple[Heard, Heard]]) -> str:
    most = max((number for number, (_direct, ours) in doubled.items() if holds(ours)), default=0)
    held = f"One process holds {most:,} streams within that." if most else "It does not hold even these within that."
    last = max(doubled)
    direct, ours = doubled[last]
    if holds(direct) and holds(ours):
        return f"{held} More were not asked for."
    if holds(direct):
        return f"{held} With {last:,} the fake server alone is still within it: the gateway ends before the machine."
    return f"{held} With {last:,} the fake server and the reader alone are beyond it: the machine ends there."


def _delay(heard: Heard) -> list[str]:
    failed = f" ({heard.failed} failed)" if heard.failed else ""
    return [f"{heard.chunks_per_second:,.0f}{failed}", f"{heard.p50:.1f}", f"{heard.p99:.1f}"]


def _cost(heard: Heard) -> list[str]:
    cpu, memory = heard.cpu_of_stream, heard.memory_of_stream
    return ["" if cpu is None else f"{cpu:.2f}", "" if memory is None else f"{memory:.0f}"]

"""Runs every benchmark, prints ratios, and writes them with the machine described to docs/performance.md."""

import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.load import Result, load
from benchmarks.stack import ROOT, Stack, manage, stack

REPORT = ROOT / "docs" / "performance.md"
ROUNDS, SECONDS = 4, 2.0
CONNECTIONS = (1, 16, 64)
TARGETS = ("fake", "nginx", "gateway")
MESSAGES = [{"role": "user", "content": "Say hello in three languages, please, and one word about each."}]
WHOLE = orjson.dumps({"model": "fake-chat", "messages": MESSAGES, "max_tokens": 16})
STREAMED = orjson.dumps({"model": "fake-chat", "messages": MESSAGES, "max_tokens": 16, "stream": True})


@dataclass(frozen=True)
class Row:
    """One target at one number of connections."""

    target: str
    connections: int
    result: Result
    requests: int
    cpu_seconds: float | None


def main() -> int:
    """Measure, print, write."""
    with stack() as running:
        answered = _warm(running)
        rows = [row for connections in CONNECTIONS for row in _whole(running, connections)]
        first = {
            target: _first_event(running, target) for target in ("fake", "nginx", "gateway") if _url(running, target)
        }
        ingest = _figures(running, "benchmarks.ingest")
        answered += sum(row.requests for row in rows if row.target == "gateway") + first["gateway"].requests
        assert ingest["metered"] == answered, f"{answered} calls were answered, {ingest['metered']} metered"
        # Before the others, which make people: its runs are those of the only one.
        playground = _playground(running)
        keys = _figures(running, "benchmarks.keys")
        timing = _figures(running, "benchmarks.timing")
        people = _figures(running, "benchmarks.people")
    report = _report(rows, first, ingest, playground, keys, people, timing)
    print(report)
    REPORT.write_text(report)
    return 0


def _url(running: Stack, target: str) -> str:
    return {"fake": running.fake, "nginx": running.nginx or "", "gateway": running.gateway}[target]


def _warm(running: Stack) -> int:
    """Bring everything up to speed; tells how many calls the gateway answered meanwhile."""
    answered = 0
    for target in TARGETS:
        if url := _url(running, target):
            for body in (WHOLE, STREAMED):
                result = load(f"{url}/chat/completions", body, secret=running.secret, connections=4, seconds=1)
                answered += result.requests if target == "gateway" else 0
    return answered


def _whole(running: Stack, connections: int) -> list[Row]:
    """The targets one after the other, so that each has the machine to itself."""
    rows = []
    for target in TARGETS:
        if not (url := _url(running, target)):
            continue
        before = _cpu_seconds(running.gateway_pid)
        result, requests = _best(running, url, WHOLE, connections=connections, first_event=False)
        after = _cpu_seconds(running.gateway_pid)
        cpu_seconds = None
        if target == "gateway" and before is not None and after is not None:
            cpu_seconds = (after - before) / requests * 1000
        rows.append(Row(target, connections, result, requests, cpu_seconds))
        print(f"{target} at {connections}: {result.requests_per_second:.0f}/s", file=sys.stderr)
    return rows


def _first_event(running: Stack, target: str) -> Row:
    result, requests = _best(running, _url(running, target), STREAMED, connections=1, first_event=True)
    return Row(target, 1, result, requests, None)


def _best(running: Stack, url: str, body: bytes, *, connections: int, first_event: bool) -> tuple[Result, int]:
    """The round with the lowest median, which whatever else the machine does disturbed least, and the calls of all."""
    rounds = [
        load(
            f"{url}/chat/completions",
            body,
            secret=running.secret,
            connections=connections,
            seconds=SECONDS,
            first_event=first_event,
        )
        for _ in range(ROUNDS)
    ]
    for one in rounds:
        assert not one.failed, f"{one.failed} calls failed at {url}"
    return min(rounds, key=lambda one: one.p50), sum(one.requests for one in rounds)


def _playground(running: Stack) -> dict[str, float]:
    command = [sys.executable, "-m", "celery", "-A", "portal", "--quiet", "worker", "-Q", "inference", "-P", "threads"]
    worker = subprocess.Popen([*command, "-c", "16", "-l", "warning"], cwd=ROOT, env=running.environment)
    try:
        return _figures(running, "benchmarks.playground")
    finally:
        worker.terminate()
        worker.wait(30)


def _figures(running: Stack, module: str) -> dict[str, Any]:
    """What the `main` of a module prints, with Django set up."""
    output = manage(running.environment, "shell", "-v", "0", "-c", f"from {module} import main; main()")
    figures: dict[str, Any] = orjson.loads(output.splitlines()[-1])
    return figures


def _cpu_seconds(pid: int) -> float | None:
    """Processor time of a process so far; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    load_now = f", load average {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} cores ({model}), {platform.system()}, Python {platform.python_version()}{load_now}"


def _report(
    rows: list[Row],
    first: dict[str, Row],
    ingest: dict[str, float],
    playground: dict[str, float],
    keys: dict[str, Any],
    people: dict[str, dict[str, float]],
    timing: dict[str, Any],
) -> str:
    table = "\n".join(_line(row, rows) for row in rows)
    added = {
        row.connections: row.result.p50 - _same(rows, "fake", row.connections).result.p50
        for row in rows
        if row.target == "gateway"
    }
    waits = "\n".join(
        f"| {_name(row.target)} | {row.result.p50:.2f} | {row.result.p99:.2f} "
        f"| {row.result.p50 - first['fake'].result.p50:+.2f} |"
        for row in first.values()
    )
    return f"""# Performance

`make bench` measures this and writes this page. Everything runs on one machine, which the load generator and the fake
inference server share, so read the ratios rather than the bare numbers. Each line is the round of {ROUNDS}
with the lowest median.

Measured on {time.strftime("%Y-%m-%d", time.gmtime())}: {_machine()}.

## Calls that are not streamed

One web process with everything on: key, limits, admit and settle in Redis, usage event. The fake inference server
answers 16 tokens at once; nginx is a plain proxy in front of it.

| target | connections | requests/s | p50 ms | p99 ms | of the fake alone | of nginx | CPU s per 1,000 |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{table}

The gateway adds {added[1]:.2f} ms at the median to a call on one connection.{_of_processor(rows)}

## Streams

Milliseconds from the request to the first event, on one connection.

| target | p50 ms | p99 ms | added at p50 |
| --- | ---: | ---: | ---: |
{waits}

{keys_section(keys)}
{people_section(people)}
{timing_section(timing)}
## Playground

A run is a row and a Celery message before it is a call. From the row to the worker it takes {playground["hop"]:.1f} ms
at the median, to the first word {playground["first_word"]:.1f} ms.

## Usage events

From the Redis stream to committed events and roll-ups: **{ingest["ingest"]:,.0f} events/s** by one process, of 500 keys
and 8 models. PostgreSQL's own `COPY` of the same rows, without an index or a sum, takes {ingest["copy"]:,.0f} rows/s:
the ingest reaches {ingest["ingest"] / ingest["copy"]:.0%} of that.

Each of the {ingest["metered"]:,.0f} calls that the gateway answered above is in the ledger, and none is there twice.
"""


def keys_section(keys: dict[str, Any]) -> str:
    """What the report says about keys."""
    pages = "\n".join(
        f"| {name} | {page['few']:.1f} | {page['full']:.1f} | {page['many']:.1f} | {page['many'] / page['full']:.2f} |"
        for name, page in keys["pages"].items()
    )
    return f"""## Keys

Checking a key (checksum, hash, expiry, a list of three networks) takes **{keys["warm_ms"]:.3f} ms** of a processor in a
process that has its policy at hand, and asks Redis {keys["warm_commands"]} times in 20,000 checks. In a process
that has never seen the key, and that runs beside one that has within the last minute, it takes {keys["cold_ms"]:.2f} ms
with {keys["cold_commands"]:.2f} round trips to Redis, {keys["cold_ms"] / keys["trip_ms"]:.2f} times a bare `GET`. What
Redis kept from before a process has listened for changes it does not trust: a key that nobody has used since takes
{keys["unknown_ms"]:.1f} ms with PostgreSQL asked, once.

A million guesses, each another and right in all but the checksum, are refused in {keys["junk_ms"]:.3f} ms of a
processor each, with {keys["junk_commands"]:,.0f} commands to Redis and {keys["junk_transactions"]:,.0f} transactions
in PostgreSQL, whose own upkeep is counted too.

Pages in milliseconds, by how many keys the project has. A page shows 50 of them, so that ten are less to draw; the
ratio is of 10,000 to 100. Of all pages key health asks most of every key.

| page | 10 keys | 100 keys | 10,000 keys | ratio |
| --- | ---: | ---: | ---: | ---: |
{pages}
"""


def people_section(pages: dict[str, dict[str, float]]) -> str:
    """What the report says about people; a page has a figure for each of its sizes."""
    sizes = sorted({int(size) for page in pages.values() for size in page})
    lines = "\n".join(
        f"| {name} | {' | '.join(f'{page[str(size)]:.1f}' if str(size) in page else '' for size in sizes)} "
        f"| {page[max(page, key=int)] / page['100']:.2f} |"
        for name, page in pages.items()
    )
    return f"""## People

Pages in milliseconds, by how many rows the list has: members, projects, participants of a cohort, events of the audit
log in a year. A page shows 50 of them, so that ten are less to draw; the ratio is of the most to 100.

| page | {" | ".join(f"{size:,}" for size in sizes)} | ratio |
| --- |{" ---: |" * (len(sizes) + 1)}
{lines}
"""


def timing_section(timing: dict[str, Any]) -> str:
    """What the report says about what a clock tells."""
    lines = "\n".join(
        f"| {name} | {found['one']:.2f} | {found['other']:.2f} | {abs(found['one'] - found['other']):.2f} "
        f"| {found['rank']:.2f} |"
        for name, found in timing["requests"].items()
    )
    return f"""## What a clock tells

Medians in milliseconds of {timing["samples"]} requests of each kind in turns, by one who measures on this machine
itself: on pages for an address that has an account and for one that has none; at `/v1` for a guess that is near to
something, and for a random one with a right checksum. The rank is how often a request of the first kind is slower than
one of the second: 0.5 tells nothing, 0 and 1 tell everything. Passwords have a quick hash here, so that its noise hides
nothing; tests hold that it is made as often either way.

| request | near | far | apart | rank |
| --- | ---: | ---: | ---: | ---: |
{lines}
"""


def _of_processor(rows: list[Row]) -> str:
    cpu = next((row.cpu_seconds for row in reversed(rows) if row.cpu_seconds), None)
    if cpu is None:
        return ""
    return (
        f" Its process needs {cpu:.2f} s of processor\ntime for 1,000 calls at {CONNECTIONS[-1]} connections: a core "
        f"that does nothing else serves {1000 / cpu:,.0f} calls/s."
    )


def _line(row: Row, rows: list[Row]) -> str:
    result = row.result
    shares = [_share(row, rows, other) for other in ("fake", "nginx")]
    cpu = "" if row.cpu_seconds is None else f"{row.cpu_seconds:.2f}"
    cells = [
        _name(row.target),
        str(row.connections),
        f"{result.requests_per_second:,.0f}",
        f"{result.p50:.2f}",
        f"{result.p99:.2f}",
        *shares,
        cpu,
    ]
    return f"| {' | '.join(cells)} |"


def _share(row: Row, rows: list[Row], other: str) -> str:
    if row.target != "gateway" or not any(found.target == other for found in rows):
        return ""
    return f"{row.result.requests_per_second / _same(rows, other, row.connections).result.requests_per_second:.3f}"


def _same(rows: list[Row], target: str, connections: int) -> Row:
    return next(row for row in rows if row.target == target and row.connections == connections)


def _name(target: str) -> str:
    return {"fake": "fake server alone", "nginx": "nginx", "gateway": "Lyceum"}[target]


if __name__ == "__main__":
    sys.exit(main())

"""A million calls: whether the gateway's process grows, and whether each of them is in the ledger."""

import sys
import time

from benchmarks.calls import WHOLE
from benchmarks.load import load
from benchmarks.page import table
from benchmarks.processes import used
from benchmarks.stack import Stack
from benchmarks.targets import ours

CALLS, STEPS, QUICK_CALLS = 1_000_000, 10, 20_000
CONNECTIONS, SECONDS, WARM_SECONDS = 16, 5.0, 2.0


def measure(stack: Stack, *, is_quick: bool) -> str:
    """The section of the page. Fails when a call failed, or is not in the ledger."""
    wanted = QUICK_CALLS if is_quick else CALLS
    (target,) = ours(stack)
    answered, rows = 0, []
    began = time.monotonic()
    for step in range(STEPS + 1):
        while answered < max(1, wanted * step // STEPS):
            seconds = SECONDS if step and not is_quick else WARM_SECONDS
            result = load(target.url, WHOLE, headers=target.headers, connections=CONNECTIONS, seconds=seconds)
            assert not result.failed, f"{result.failed} calls failed"
            answered += result.requests
        taken = used(stack.portal_pid)
        rows.append((answered, None if taken is None else taken.memory / 1024**2))
        print(f"{answered:,} calls: {rows[-1][1] or 0:.1f} MB", file=sys.stderr)
        # As a worker does all the time: Redis keeps what waits for the ledger.
        metered = int(stack.shell("benchmarks.metered"))
        assert metered == answered, f"{answered} calls were answered, {metered} metered"
    return section(rows, minutes=(time.monotonic() - began) / 60)


def section(rows: list[tuple[int, float | None]], *, minutes: float) -> str:
    """What the page says about them."""
    cells = [[f"{calls:,}", "" if megabytes is None else f"{megabytes:.1f}"] for calls, megabytes in rows]
    (first, early), (last, late) = rows[1], rows[-1]
    grown = (
        ""
        if early is None or late is None
        else (
            f"\nFrom {first:,} calls to {last:,} the process grew by {late - early:.1f} MB, "
            f"{(late - early) * 1024**2 / (last - first):.1f} bytes a call.\n"
        )
    )
    return f"""The memory of the gateway's process while it answers calls over {CONNECTIONS} connections, in
{minutes:.0f} min. `make bench` leaves this out, which takes so long: `make bench SECTION=memory`. After each step
as many usage events are in the ledger as calls were answered.

{table(["calls", "MB"], cells, words=0)}
{grown}"""

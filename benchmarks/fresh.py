"""How soon a call stands in the sums that pages are made of, while many are made."""

import threading
import time
from statistics import quantiles

from django.db.models import Sum

from benchmarks.ingest import KEYS, MODELS, event
from common import redis as servers
from usage.events import STREAM
from usage.models import UsageInstallationHour

A_SECOND = 1000
STEP_SECONDS = 0.02
LATEST_SECONDS = 60


def main(seconds: int) -> None:
    """Print the section of the page."""
    # First those of a second, which show that the worker is up.
    _delays(A_SECOND)
    delays = _delays(seconds * A_SECOND)
    percentiles = quantiles(delays, n=100)
    print(
        f"At {A_SECOND:,} events a second for {seconds} seconds, of {KEYS} keys and {MODELS} models, an event is in "
        f"the sums that pages are\nmade of {percentiles[49]:.2f} s after its call at the median, {percentiles[98]:.2f} "
        f"s at the 99th percentile and **{max(delays):.2f} s** at most."
    )


def _delays(events: int) -> list[float]:
    """For each of so many events, the seconds until it was written."""
    made_at: list[float] = []
    delays: list[float] = []
    before = _written()
    maker = threading.Thread(target=_make, args=(events, made_at))
    maker.start()
    deadline = time.monotonic() + events / A_SECOND + LATEST_SECONDS
    while len(delays) < events:
        assert time.monotonic() < deadline, f"only {len(delays)} events were written in time"
        written = _written() - before
        now = time.monotonic()
        delays += [now - moment for moment in made_at[len(delays) : written]]
        time.sleep(STEP_SECONDS / 2)
    maker.join()
    return delays


def _written() -> int:
    # Of the smallest table: all are written in one transaction.
    return int(UsageInstallationHour.objects.aggregate(sum=Sum("requests"))["sum"] or 0)


def _make(events: int, made_at: list[float]) -> None:
    """Append to the stream at an even pace, and note when."""
    client = servers.durable()
    started = time.monotonic()
    while len(made_at) < events:
        due = min(events, int((time.monotonic() - started) * A_SECOND))
        pipeline = client.pipeline(transaction=False)
        for number in range(len(made_at), due):
            pipeline.xadd(STREAM, {"e": event(number).encode().decode()})
        pipeline.execute()
        made_at += [time.monotonic()] * (due - len(made_at))
        time.sleep(STEP_SECONDS)

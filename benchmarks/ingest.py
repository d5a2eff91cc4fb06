"""How fast usage events reach the ledger, from the stream to committed roll-ups, beside a plain COPY of them."""

import time
from multiprocessing import get_context

from django.db import connection

from common import redis as servers
from common.ids import new_id, uuid7
from usage.events import STREAM, Event
from usage.ingest import drain
from usage.models import UsageEvent

EVENTS = 60_000
# Of a busy installation: this many keys, each of its own project, calling one of these models.
KEYS, MODELS = 500, 8
WORKERS = 2


def event(number: int) -> Event:
    key = number % KEYS
    return Event(
        id=uuid7().hex,
        request_id=new_id("req"),
        source="key",
        organization_id=f"org_02Q6VZ0000000000000{key:03}",
        project_id=f"proj_02Q6VZ0000000000000{key:03}",
        key_id=f"key_02Q6VZ0000000000000{key:03}",
        user_id="",
        model=f"model-{number % MODELS}",
        backend="fake",
        endpoint="chat/completions",
        status=200,
        error_code="",
        is_streamed=False,
        is_estimated=False,
        prompt_tokens=120,
        cached_tokens=0,
        completion_tokens=48,
        cost_nano=0,
        latency_ms=640,
        first_token_ms=None,
    )


def fill_stream(count: int = EVENTS) -> None:
    """Put as many events into the stream."""
    client = servers.durable()
    for start in range(0, count, 5000):
        pipeline = client.pipeline(transaction=False)
        for number in range(start, min(count, start + 5000)):
            pipeline.xadd(STREAM, {"e": event(number).encode().decode()})
        pipeline.execute()


def main() -> None:
    """Print the section of the page."""
    fill_stream()
    started = time.perf_counter()
    inserted = drain()
    ingest = inserted / (time.perf_counter() - started)
    assert inserted == EVENTS
    copy = EVENTS / _copy()
    print(
        f"From the Redis stream to committed events and roll-ups: **{ingest:,.0f} events/s** by one process, of {KEYS} "
        f"keys\nand {MODELS} models. PostgreSQL's own `COPY` of the same rows, without an index or a sum, takes "
        f"{copy:,.0f} rows/s:\nthe ingest reaches {ingest / copy:.0%} of that.\n\n"
        f"{WORKERS} processes side by side write {_side_by_side():,.0f} events/s: one writes at a time, so that no "
        "event is counted twice, and the\nothers take over when it stops."
    )


def _side_by_side() -> float:
    """Events a second of several processes together."""
    fill_stream()
    # A child inherits no connection.
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's has one
    started = time.perf_counter()
    with get_context("fork").Pool(WORKERS) as pool:
        inserted = sum(pool.map(_drain_all, range(WORKERS)))
    elapsed = time.perf_counter() - started
    assert inserted == EVENTS
    return inserted / elapsed


def _drain_all(_worker: int) -> int:
    """Drain until nothing waits any more, whoever wrote it."""
    inserted = 0
    while servers.durable().xlen(STREAM):
        inserted += drain()
    return inserted


def _copy() -> float:
    """Seconds to COPY every row of the ledger into a table of the same columns, without an index."""
    table = UsageEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE copied (LIKE {table})")
        cursor.execute(f"SELECT * FROM {table}")  # noqa: S608
        rows = cursor.fetchall()
        started = time.perf_counter()
        with cursor.copy("COPY copied FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        elapsed = time.perf_counter() - started
        cursor.execute("DROP TABLE copied")
    return elapsed

"""How fast usage events reach the ledger, from the stream to committed roll-ups, beside a plain COPY of them."""

import time

from django.db import connection

from common import redis as servers
from common.ids import new_id, uuid7
from usage.events import STREAM, Event
from usage.ingest import drain
from usage.models import UsageEvent

EVENTS = 60_000
# Of a busy installation: this many keys, each of its own project, calling one of these models.
KEYS, MODELS = 500, 8


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


def main() -> None:
    """Print the section of the page."""
    events = [event(number) for number in range(EVENTS)]
    client = servers.durable()
    for start in range(0, EVENTS, 5000):
        pipeline = client.pipeline(transaction=False)
        for one in events[start : start + 5000]:
            pipeline.xadd(STREAM, {"e": one.encode().decode()})
        pipeline.execute()
    started = time.perf_counter()
    inserted = drain()
    ingest = inserted / (time.perf_counter() - started)
    assert inserted == EVENTS
    copy = EVENTS / _copy()
    print(
        f"From the Redis stream to committed events and roll-ups: **{ingest:,.0f} events/s** by one process, of {KEYS} "
        f"keys\nand {MODELS} models. PostgreSQL's own `COPY` of the same rows, without an index or a sum, takes "
        f"{copy:,.0f} rows/s:\nthe ingest reaches {ingest / copy:.0%} of that."
    )


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

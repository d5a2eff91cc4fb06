"""What a ledger of ten million calls costs, beside one of a million."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from django.db import connection
from django.utils import timezone

from accounts.models import Organization, Project
from benchmarks.ingest import KEYS, MODELS, fill_stream
from usage import log
from usage.ingest import drain
from usage.models import UsageEvent
from usage.sight import Sight

MONTHS = 12
ROUNDS = 9
# Evenly over a year until now, in the order of time as they come; a few projects make most of the calls, and one
# call in fifty fails.
GROW = """
INSERT INTO usage_usageevent (
    id, at, request_id, source, organization_id, project_id, key_id, user_id, model, backend, endpoint, status,
    error_code, is_streamed, is_estimated, prompt_tokens, cached_tokens, completion_tokens, cost_nano, latency_ms,
    first_token_ms
)
SELECT
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008000' || lpad(to_hex(number), 12, '0'))
        ::uuid,
    at, 'req_' || lpad(number::text, 22, '0'), 'key', 'org_02Q6VZ0000000000000000',
    'proj_02Q6VZ0000000000000' || project, 'key_02Q6VZ0000000000000' || project, '', 'model-' || number %% {models},
    'fake', 'chat/completions', CASE WHEN number %% 50 = 0 THEN 429 ELSE 200 END,
    CASE WHEN number %% 50 = 0 THEN 'rate_limit_exceeded' ELSE '' END, FALSE, FALSE, 120, 0, 48, 0, 640, NULL
FROM (
    SELECT number, floor({keys} * random() ^ 3)::int AS project,
        %(now)s - interval '1 year' + (number - %(first)s) * interval '1 year' / (%(last)s - %(first)s) AS at
    FROM generate_series(%(first)s, %(last)s - 1) AS number
) AS drawn
"""
OPEN_MONTHS = """
SELECT usage_open_month((date_trunc('month', now() AT TIME ZONE 'UTC') - back * interval '1 month')::date)
FROM generate_series(0, %s) AS back
"""


def main(sizes: tuple[int, ...], events: int) -> None:
    """Print the section of the page."""
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(OPEN_MONTHS, [MONTHS])
    sight = _busiest()
    print(
        "Of a ledger of so many calls of a year, in milliseconds at the median: pages of the log, of the busiest of "
        f"{KEYS} projects,\nand what is written down of {events:,} more events meanwhile.\n"
    )
    columns: list[dict[str, str]] = []
    found = 0
    for size in sizes:
        with connection.cursor() as cursor:
            values: dict[str, datetime | int] = {"now": now, "first": found, "last": size}
            cursor.execute(GROW.format(models=MODELS, keys=KEYS), values)
            cursor.execute(f"VACUUM ANALYZE {UsageEvent._meta.db_table}")
            cursor.execute(
                "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(%s)", [UsageEvent._meta.db_table]
            )
            (bytes_used,) = cursor.fetchone()
        found = size
        columns.append(
            {
                **{name: f"{_timed(ask) * 1000:.1f}" for name, ask in _questions(sight, size).items()},
                "events/s into the ledger and its sums": f"{_ingest(events):,.0f}",
                "MB with indexes": f"{int(bytes_used) / 1e6:,.0f}",
            }
        )
    print("|  | " + " | ".join(f"{size:,}" for size in sizes) + " |\n| --- |" + " ---: |" * len(sizes))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")


def _busiest() -> Sight:
    organization = Organization.objects.create(public_id="org_02Q6VZ0000000000000000", name="Large")
    project = Project.objects.create(public_id="proj_02Q6VZ00000000000000", name="Busy", organization=organization)
    return Sight(project)


def _questions(sight: Sight, size: int) -> dict[str, Callable[[], Any]]:
    month = timezone.now() - timedelta(days=30)

    def page(**asked: Any) -> Callable[[], Any]:
        return lambda: log.recent_calls(seen=[sight], asked=log.Asked(**asked), count=50)

    return {
        "the newest calls": page(),
        "the newest of 30 days that failed": page(since=month, outcome="failed"),
        "the newest of one model": page(since=month, model="model-3"),
        "calls of a year ago": page(until=timezone.now() - timedelta(days=360)),
        "the call of a request id": lambda: list(UsageEvent.objects.filter(request_id=f"req_{size // 2:022}")),
    }


def _ingest(events: int) -> float:
    fill_stream(events)
    started = time.perf_counter()
    return drain() / (time.perf_counter() - started)


def _timed(ask: Callable[[], Any]) -> float:
    times = []
    for _round in range(ROUNDS):
        started = time.perf_counter()
        assert ask(), "there is nothing to find"
        times.append(time.perf_counter() - started)
    return median(times)

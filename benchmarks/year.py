"""How fast what dashboards ask is answered from a year of sums of 10,000 keys in 500 organizations."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import ExtractHour, ExtractIsoWeekDay, TruncDay, TruncMonth
from django.utils import timezone

from accounts.models import Organization, Project
from common.zones import zone_named
from portal.operations import disk
from usage.ingest import CELLS, roll_up
from usage.installation import Span, of_organization, organizations, overview, time_of
from usage.models import (
    ROLLUPS,
    UsageInstallationHour,
    UsageKeyDay,
    UsageOrganizationDay,
    UsageProjectHour,
    UsageRollup5Min,
    UsageRollup15Min,
    UsageSums,
    UsageSumsQuerySet,
)

CALLS = 1_000_000
ORGANIZATIONS, KEYS_OF_EACH, MODELS = 500, 20, 8
ROUNDS = 7
# The first organization makes one call in eight, and half of all come from the first 62; days are busier than nights.
GENERATED = """
CREATE UNLOGGED TABLE year AS
SELECT date_trunc('day', now()) - day * interval '1 day' + hour * interval '1 hour' AS at, cost AS cost_nano,
    cost / 50 AS prompt_tokens, 0 AS cached_tokens, cost / 90 AS completion_tokens, 0 AS reasoning_tokens,
    (exp(6 + 1.2 * chance))::int AS latency_ms, (exp(5 + chance))::int AS first_token_ms,
    (CASE WHEN error > 0.015 THEN 200 WHEN error > 0.005 THEN 429 ELSE 502 END)::smallint AS status,
    CASE WHEN error > 0.015 THEN '' WHEN error > 0.005 THEN 'rate_limit_exceeded' ELSE 'server_error' END AS error_code,
    'key' AS source, 'org_02Q6VZ0000000000000' || organization AS organization_id,
    'proj_02Q6VZ0000000000000' || organization || 'x' || key % 2 AS project_id,
    'key_02Q6VZ0000000000000' || organization || 'x' || key AS key_id, '' AS user_id,
    'model-' || (key + (error * 3000)::int % 2) % {models} AS model, 'gpu-' || key % 4 AS backend,
    'chat/completions' AS endpoint
FROM (
    SELECT floor(365 * random())::int AS day, 24 * (random() + random() + random()) / 3 AS hour,
        floor({organizations} * random() ^ 3)::int AS organization, floor({keys} * random())::int AS key,
        (100000 * random())::int AS cost, random() AS error, random() + random() - random() AS chance
    FROM generate_series(1, {calls})
) AS drawn
"""
FILL = "WITH inserted AS (SELECT * FROM year WHERE at >= %s), {cells} {roll_up}"

Question = Callable[[], Any]


def main() -> None:
    """Print the section of the page."""
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(GENERATED.format(models=MODELS, organizations=ORGANIZATIONS, keys=KEYS_OF_EACH, calls=CALLS))
        sizes = []
        for table in ROLLUPS:
            since = now - timedelta(days=35 if table is UsageRollup5Min else 400)
            cursor.execute(FILL.format(cells=CELLS, roll_up=roll_up(table)), [since])
            name = table._meta.db_table
            cursor.execute(f"ANALYZE {name}")
            cursor.execute("SELECT pg_total_relation_size(%s)", [name])
            sizes.append((str(table._meta.verbose_name_plural), table.objects.count(), cursor.fetchone()[0]))
    print(
        f"What dashboards ask of a year of {CALLS / 1e6:g} million calls with 10,000 keys in 500 organizations, in "
        "milliseconds at the\nmedian and at most: of the busiest organization, which made one call in eight, and of "
        "one in the middle.\n\n| question | busiest | at most | middle | at most |\n| --- | ---: | ---: | ---: | ---: |"
    )
    for name in _questions(0, now):
        times = [*_timed(_questions(0, now)[name]), *_timed(_questions(ORGANIZATIONS // 2, now)[name])]
        print(f"| {name} | " + " | ".join(f"{seconds * 1000:.1f}" for seconds in times) + " |")
    print("\n| table | rows | MB |\n| --- | ---: | ---: |")
    for name, rows, size in sizes:
        print(f"| {name} | {rows:,} | {size / 1e6:,.0f} |")


def _questions(organization: int, now: datetime) -> dict[str, Question]:
    zone = zone_named("America/New_York")
    projects = [f"proj_02Q6VZ0000000000000{organization}x{number}" for number in range(2)]
    key = f"key_02Q6VZ0000000000000{organization}x0"

    def of(table: type[UsageSums], days: int) -> UsageSumsQuerySet:
        rows = table.objects.filter(bucket_at__gte=now - timedelta(days=days))
        return rows.filter(Q(project_id__in=projects)) if "project_id" in table.CELL else rows

    def summed(rows: QuerySet[Any], *by: str) -> Question:
        sums = [Sum(name) for name in ("requests", "errors", "prompt_tokens", "completion_tokens", "cost_nano")]
        return lambda: list(rows.values(*by).annotate(*sums))

    last_day, last_month = (time_of(span, now=now) for span in (Span.DAY, Span.MONTH))
    theirs = Organization.objects.get_or_create(public_id=f"org_02Q6VZ0000000000000{organization}")[0]
    for project in projects:
        Project.objects.get_or_create(public_id=project, name=project, organization=theirs)
    day = TruncDay("bucket_at", tzinfo=zone)
    weekday = {"weekday": ExtractIsoWeekDay("bucket_at", tzinfo=zone), "hour": ExtractHour("bucket_at", tzinfo=zone)}
    return {
        "a day of five minutes by model": summed(of(UsageRollup5Min, 1), "bucket_at", "model"),
        "30 days by day and key": summed(of(UsageRollup15Min, 30).annotate(day=day), "day", "key_id"),
        "30 days by day and model": summed(of(UsageProjectHour, 30).annotate(day=day), "day", "model"),
        "30 days by day and status": summed(of(UsageProjectHour, 30).annotate(day=day), "day", "status"),
        "a year by day and model": summed(of(UsageKeyDay, 365), "bucket_at", "model"),
        "a year by key": summed(of(UsageKeyDay, 365), "key_id"),
        "a year of one key by day": summed(of(UsageKeyDay, 365).filter(key_id=key), "bucket_at"),
        "a year by month and error": summed(
            of(UsageKeyDay, 365).filter(status__gte=400).annotate(month=TruncMonth("bucket_at")), "month", "error_code"
        ),
        "30 days of percentiles by day": lambda: of(UsageProjectHour, 30).annotate(day=day).percentiles("day"),
        "a year of percentiles by model": lambda: of(UsageKeyDay, 365).percentiles("model"),
        "heat map of 30 days": summed(of(UsageProjectHour, 30).annotate(**weekday), "weekday", "hour"),
        "the portal: 30 days by day and model": summed(of(UsageInstallationHour, 30).annotate(day=day), "day", "model"),
        "the portal: 30 days of percentiles by backend": lambda: of(UsageInstallationHour, 30).percentiles("backend"),
        "the portal: 30 days of errors": summed(of(UsageInstallationHour, 30).filter(status__gte=400), "error_code"),
        "the portal: 30 days by organization": summed(of(UsageOrganizationDay, 30), "organization_id"),
        "the portal: 24 hours of the operators' page": lambda: (overview(last_day), organizations(last_day)),
        "the portal: 30 days of the operators' page": lambda: (overview(last_month), organizations(last_month)),
        "30 days of an organization, for operators": lambda: of_organization(theirs, last_month),
        "sizes of all that is kept": disk.measure,
        "the portal: a year by organization": summed(of(UsageOrganizationDay, 365), "organization_id"),
    }


def _timed(ask: Question) -> tuple[float, float]:
    times = []
    for _round in range(ROUNDS):
        started = time.perf_counter()
        ask()
        times.append(time.perf_counter() - started)
    return median(times), max(times)

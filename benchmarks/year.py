"""How fast what dashboards ask is answered from a year of sums of 10,000 keys in 500 organizations."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from django.db import connection
from django.utils import timezone

from accounts.models import Membership, Organization, Project, User
from accounts.roles import Role
from apikeys.models import ApiKey
from common.zones import UTC, zone_named
from portal.operations import disk
from usage.forecast import forecast
from usage.ingest import CELLS, roll_up
from usage.installation import Span, of_organization, organizations, overview, time_of
from usage.models import ROLLUPS, UsageRollup5Min
from usage.reports import EVERYTHING, Group, Narrowing, Window, failures, last_change, period_of, usage_report, week_of
from usage.sight import Sight, Sights

CALLS = 1_000_000
ORGANIZATIONS, KEYS_OF_EACH, MODELS = 500, 20, 8
ROUNDS = 7
# The first organization makes one call in eight, and half of all come from the first 62; days are busier than nights.
GENERATED = """
CREATE UNLOGGED TABLE year AS
SELECT date_trunc('day', now()) - day * interval '1 day' + hour * interval '1 hour' AS at, cost AS cost_nano,
    cost / 50 AS prompt_tokens, 0 AS cached_tokens, cost / 90 AS completion_tokens, 0 AS reasoning_tokens,
    0 AS credit_nano,
    (exp(6 + 1.2 * chance))::int AS latency_ms, 0 AS waited_ms, (exp(5 + chance))::int AS first_token_ms,
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
            # As the server does by itself after so many rows; the pages of an index are then known to be whole.
            cursor.execute(f"VACUUM ANALYZE {name}")
            cursor.execute("SELECT pg_total_relation_size(%s)", [name])
            sizes.append((str(table._meta.verbose_name_plural), table.objects.count(), cursor.fetchone()[0]))
    print(
        f"What dashboards ask of a year of {CALLS / 1e6:g} million calls with 10,000 keys in 500 organizations, in "
        "milliseconds at the\nmedian and at most: the slowest of its statements, and how long all takes with what is "
        "made of them; of the\nbusiest organization, which made one call in eight, and of one in the middle.\n\n"
        "| question | statements | slowest | at most | all | in the middle | at most | all |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    busiest, middle = (_of_an_organization(number, now) for number in (0, ORGANIZATIONS // 2))
    for name in busiest:
        (count, *times), (_count, *others) = _timed(busiest[name]), _timed(middle[name])
        print(f"| {name} | {count} | " + " | ".join(f"{seconds * 1000:.1f}" for seconds in (*times, *others)) + " |")
    print("\n| of the whole portal | statements | slowest | at most | all |\n| --- | ---: | ---: | ---: | ---: |")
    for name, ask in _of_the_portal(now).items():
        count, *times = _timed(ask)
        print(f"| {name} | {count} | " + " | ".join(f"{seconds * 1000:.1f}" for seconds in times) + " |")
    print("\n| table | rows | MB |\n| --- | ---: | ---: |")
    for name, rows, size in sizes:
        print(f"| {name} | {rows:,} | {size / 1e6:,.0f} |")


def _sights(number: int) -> tuple[Sights, ApiKey]:
    """The projects of an organization as its owner sees them, and a key that she made."""
    owner = User.objects.create_user(f"owner{number}@example.com")
    organization = Organization.objects.create(public_id=f"org_02Q6VZ0000000000000{number}", name=f"{number}")
    Membership.objects.create(organization=organization, user=owner, role=Role.OWNER)
    projects = [
        Project.objects.create(
            public_id=f"proj_02Q6VZ0000000000000{number}x{half}", organization=organization, name=f"{half}"
        )
        for half in range(2)
    ]
    keys = [
        ApiKey(
            public_id=f"key_02Q6VZ0000000000000{number}x{key}", project=projects[key % 2], name=f"{key}",
            prefix="lyc", last4="wxyz", created_by=owner,
        )
        for key in range(KEYS_OF_EACH)
    ]  # fmt: skip
    ApiKey.objects.bulk_create(keys)
    return [Sight(project, sees_people=True) for project in projects], keys[0]


def _of_an_organization(number: int, now: datetime) -> dict[str, Question]:
    """What its usage page asks, which is what it calls."""
    sights, key = _sights(number)
    owner = key.created_by
    assert owner is not None
    one_key, member = Narrowing(key=key.public_id), Narrowing(member=owner.public_id)
    zone = zone_named("America/New_York") or UTC

    def page(window: Window, group: Group, narrowing: Narrowing = EVERYTHING, *, compares: bool = False) -> Question:
        return lambda: usage_report(
            sights=sights, window=window, group=group, narrowing=narrowing, zone=zone, now=now, compares=compares
        )

    def of(window: Window, ask: Callable[..., Any]) -> Question:
        report = page(window, Group.MODEL)()
        return lambda: ask(report, sights=sights)

    return {
        "the last hour by model": page(Window.HOUR, Group.MODEL),
        "today by key": page(Window.TODAY, Group.KEY),
        **{f"30 days by {group}": page(Window.MONTH, group) for group in Group},
        "30 days in Kathmandu by model": lambda: usage_report(
            sights=sights, window=Window.MONTH, group=Group.MODEL, zone=zone_named("Asia/Kathmandu") or UTC, now=now
        ),
        "30 days by key, compared": page(Window.MONTH, Group.KEY, compares=True),
        "30 days of a key by status": page(Window.MONTH, Group.STATUS, one_key),
        "30 days of a member by key": page(Window.MONTH, Group.KEY, member),
        "30 days of what failed by key": page(Window.MONTH, Group.KEY, Narrowing(status="failed")),
        "30 days of an error code by model": page(Window.MONTH, Group.MODEL, Narrowing(code="rate_limit_exceeded")),
        "90 days by model": page(Window.QUARTER, Group.MODEL),
        **{f"12 months by {group}": page(Window.YEAR, group) for group in Group},
        "12 months by key, compared": page(Window.YEAR, Group.KEY, compares=True),
        "12 months of a key by status": page(Window.YEAR, Group.STATUS, one_key),
        "why calls failed in 30 days": of(Window.MONTH, failures),
        "why calls failed in 12 months": of(Window.YEAR, failures),
        "hours of the week in 30 days": of(Window.MONTH, week_of),
        "forecast of the month": lambda: forecast(
            sights=sights, narrowing=EVERYTHING, is_organization_wide=True, reader=owner, now=now
        ),
        "whether there is news": lambda: last_change(sights=sights, period=period_of(Window.MONTH, zone=zone, now=now)),
    }


def _of_the_portal(now: datetime) -> dict[str, Question]:
    """What the operators' page asks."""
    day, month = (time_of(span, now=now) for span in (Span.DAY, Span.MONTH))
    organization = Organization.objects.get(name="0")
    return {
        "24 hours": lambda: overview(day),
        "24 hours by organization": lambda: organizations(day),
        "30 days": lambda: overview(month),
        "30 days by organization": lambda: organizations(month),
        "30 days of an organization": lambda: of_organization(organization, month),
        "sizes on the disk": disk.measure,
    }


def _timed(ask: Question) -> tuple[int, float, float, float]:
    """How many statements it takes; of the slowest the median and the most; the median of all that is done."""
    slowest, whole, count = [], [], 0
    for _round in range(ROUNDS):
        statements: list[float] = []

        def timed(execute: Callable[..., Any], *given: Any, into: list[float] = statements) -> Any:
            began = time.perf_counter()
            try:
                return execute(*given)
            finally:
                into.append(time.perf_counter() - began)

        started = time.perf_counter()
        with connection.execute_wrapper(timed):
            ask()
        whole.append(time.perf_counter() - started)
        # Nothing is asked about failures where there were none.
        slowest.append(max(statements, default=0.0))
        count = len(statements)
    return count, median(slowest), max(slowest), median(whole)

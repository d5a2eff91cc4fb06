"""Whether the events, their sums and what Redis has counted agree, and how they are made to: the events are the truth.

Compared under the drain's lock, so that nothing moves between the stream and the ledger meanwhile. Redis is read in one
step that also tells the last entry of the stream: what was settled up to there is in the counters, and it is in the
ledger or waits in the stream. What waits on a disk has reached neither.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from apikeys.models import ApiKey
from common import redis as servers
from usage import spool
from usage.admission import LEASE_MS, ORGANIZATIONS, month_of, waiting_events
from usage.alarms import alarm
from usage.allowances import next_month
from usage.events import STREAM, Event
from usage.ingest import SUMMED, columns_of, paused, roll_up, sums
from usage.kinds import DRIFT
from usage.models import HISTOGRAMS, MEASURES, ROLLUPS, UsageEvent, UsageRollup5Min, UsageSums, first_id
from usage.policies import PARTICIPANT
from usage.scripts import CORRECT
from usage.services import KEPT

KEY = re.compile(
    r"ly:\{(?P<organization>[^}]+)\}:"
    r"(?:(?P<kind>[^:]+):(?P<id>[^:]+):(?:spent:(?P<period>\d{6})|(?P<running>running))|holds|leases)"
)
# The five-minute sums are forgotten by a task that may run at any moment.
FIVE_MINUTES_COMPARED = KEPT - timedelta(hours=2)

INSERTED = f"""
inserted AS (
    SELECT {SUMMED} FROM {UsageEvent._meta.db_table}
    WHERE id >= %(first_id)s AND id < %(last_id)s AND at >= %(start)s AND at < %(end)s
        AND {{whose}}
)
"""  # noqa: S608 - names only
COMPARE = """
WITH {inserted},
truth AS ({sums}),
kept AS (SELECT {columns} FROM {table} WHERE bucket_at >= %(start)s AND bucket_at < %(end)s),
differing AS (
    SELECT TRUE AS is_truth, missing.* FROM (TABLE truth EXCEPT TABLE kept) AS missing
    UNION ALL SELECT FALSE, wrong.* FROM (TABLE kept EXCEPT TABLE truth) AS wrong
)
SELECT {whose} AS whose, count(DISTINCT ({cell})), {pairs} FROM differing GROUP BY whose ORDER BY whose
"""
# Too long to be read; the cells that differ are told all the same.
TOLD = [name for name in MEASURES if name not in HISTOGRAMS]


@dataclass(frozen=True, slots=True)
class Difference:
    """`found` stands where the events say `truth`. `period` is empty for what belongs to no month."""

    period: str
    organization_id: str
    what: str
    truth: int
    found: int


@dataclass(slots=True)
class Reconciliation:
    """What was compared, and where it differed."""

    events: int = 0
    waiting: int = 0
    spooled: int = 0
    counters: int = 0
    differences: list[Difference] = field(default_factory=list)


def this_month_and_the_last() -> list[str]:
    """The months whose counters Redis still has."""
    first = timezone.now().astimezone(UTC).replace(day=1)
    return [month_of(first - timedelta(days=1)), month_of(first)]


def reconcile(months: Sequence[str], *, repair: bool = False) -> Reconciliation:
    """Compare what is of these months (`202603`). With `repair`, make the sums and the counters agree with the events.

    Gives what was found before anything was repaired. A month of which no event is left is not repaired: its events
    were dropped, and its sums are what is left of them.
    """
    result = Reconciliation(spooled=spool.waiting())
    with paused():
        for month in months:
            result.events += UsageEvent.objects.between(_start(month), next_month(_start(month))).count()
            for table in ROLLUPS:
                result.differences += _compare_sums(table, month, repair=repair)
        _compare_counters(set(months), result, repair=repair)
    return result


def look_for_drift() -> None:
    """Alarm whoever runs the portal when something differs."""
    found = reconcile(this_month_and_the_last()).differences
    if found:
        alarm(DRIFT, places=len(found), organizations=len({difference.organization_id for difference in found}))


def _start(month: str) -> datetime:
    return datetime.strptime(month, "%Y%m").replace(tzinfo=UTC)


# Events and their sums -----------------------------------------------------------------------------------------------


def _compare_sums(table: type[UsageSums], month: str, *, repair: bool) -> Iterator[Difference]:
    start, end = _start(month), next_month(_start(month))
    if table is UsageRollup5Min:
        oldest = (timezone.now() - FIVE_MINUTES_COMPARED).replace(minute=0, second=0, microsecond=0)
        start = max(start, oldest)
    values: dict[str, Any] = {"start": start, "end": end, "first_id": first_id(start), "last_id": first_id(end)}
    # Sums of the whole portal are nobody's.
    whose = "organization_id" if "organization_id" in table.CELL else "''"
    pairs = ", ".join(
        f"coalesce(sum({name}) FILTER (WHERE {side}), 0)" for name in TOLD for side in ("is_truth", "NOT is_truth")
    )
    statement = COMPARE.format(
        inserted=INSERTED.format(whose="TRUE"),
        table=table._meta.db_table,
        sums=sums(table),
        columns=columns_of(table),
        cell=", ".join(table.CELL),
        whose=whose,
        pairs=pairs,
    )
    title = table._meta.verbose_name_plural
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        for organization, cells, *amounts in cursor.fetchall():
            yield Difference(month, organization, f"{title}: cells that differ", 0, cells)
            for number, name in enumerate(TOLD):
                truth, found = (int(amount) for amount in amounts[2 * number : 2 * number + 2])
                if truth != found:
                    yield Difference(month, organization, f"{title}: {name} in them", truth, found)
            if repair and UsageEvent.objects.between(start, end).exists():
                rows = table._default_manager.filter(bucket_at__gte=start, bucket_at__lt=end)
                if organization:
                    rows = rows.filter(organization_id=organization)
                rows.delete()
                mine = f"{whose} = %(organization)s"
                cursor.execute(
                    f"WITH {INSERTED.format(whose=mine)} {roll_up(table)}", {**values, "organization": organization}
                )


# Counters ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Budget:
    key: str
    organization_id: str
    kind: str
    id: str
    period: str
    spent: int
    held: int


@dataclass(slots=True)
class _Counted:
    """What Redis held at one moment: when `last` was the last entry of the stream."""

    last: str = "0-0"
    budgets: list[_Budget] = field(default_factory=list)
    holds: dict[str, dict[str, str]] = field(default_factory=dict)
    leases: dict[str, set[str]] = field(default_factory=dict)
    running: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    reaped: set[str] = field(default_factory=set)


def _counted(periods: set[str]) -> _Counted:
    client = servers.durable()
    keys = [found for key in client.scan_iter("ly:{*", count=1000) if (found := KEY.fullmatch(key))]
    budgets = [key for key in keys if key["period"] in periods]
    running = [key for key in keys if key["running"]]
    organizations = sorted({key["organization"] for key in keys})
    pipeline = client.pipeline(transaction=True)
    pipeline.xrevrange(STREAM, count=1)
    pipeline.smembers(ORGANIZATIONS)
    for key in budgets:
        pipeline.hmget(key[0], ["spent", "held", "seeding"])
    for key in running:
        pipeline.zrange(key[0], 0, -1)
    for organization in organizations:
        pipeline.hgetall(f"ly:{{{organization}}}:holds")
        pipeline.zrange(f"ly:{{{organization}}}:leases", 0, -1)
    answers: Iterator[Any] = iter(pipeline.execute())
    counted = _Counted()
    if last := next(answers):
        counted.last = last[0][0]
    counted.reaped = set(next(answers))
    for key in budgets:
        spent, held, seeding = next(answers)
        # Gone meanwhile, or being counted from the ledger at this moment.
        if spent is not None and seeding is None:
            parts = key["organization"], key["kind"], key["id"], key["period"]
            counted.budgets.append(_Budget(key[0], *parts, spent=int(spent), held=int(held or 0)))
    for key in running:
        counted.running[key["organization"], key[0]] = set(next(answers))
    for organization in organizations:
        counted.holds[organization] = next(answers)
        counted.leases[organization] = set(next(answers))
    return counted


def _compare_counters(months: set[str], result: Reconciliation, *, repair: bool) -> None:
    counted = _counted(months)
    waiting = waiting_events(counted.last, lambda event: month_of(event.at) in months)
    result.waiting, result.counters = len(waiting), len(counted.budgets)
    for month in sorted(months):
        budgets = [budget for budget in counted.budgets if budget.period == month]
        if budgets:
            result.differences += _compare_budgets(budgets, month, waiting, _held(counted), repair=repair)
    result.differences += _compare_leases(counted, repair=repair)


def _compare_budgets(
    budgets: list[_Budget], month: str, waiting: list[Event], holds: Counter[str], *, repair: bool
) -> Iterator[Difference]:
    spent = _Spent(month, [event for event in waiting if month_of(event.at) == month])
    for budget in budgets:
        truth, held = spent.of(budget), holds[budget.key]
        name = f"{budget.kind} {budget.id}"
        if truth != budget.spent:
            yield Difference(month, budget.organization_id, f"{name}: spent nano-dollars", truth, budget.spent)
        if held != budget.held:
            yield Difference(month, budget.organization_id, f"{name}: reserved nano-dollars", held, budget.held)
        if repair and (truth, held) != (budget.spent, budget.held):
            # What is wrong is added: calls go on to settle meanwhile.
            corrections = [str(truth - budget.spent), str(held - budget.held)]
            CORRECT.run(servers.durable(), keys=[budget.key], args=corrections)


class _Spent:
    """What was spent in a month by the events, in the ledger and waiting for it, for any scope."""

    def __init__(self, month: str, waiting: list[Event]) -> None:
        self._costs: Counter[tuple[str, ...]] = Counter()
        rows = UsageEvent.objects.between(_start(month), next_month(_start(month))).filter(cost_nano__gt=0)
        for *who, cost in rows.values_list(*self.WHOSE).annotate(sum=Sum("cost_nano")):
            self._costs[tuple(who)] += int(cost)
        for event in waiting:
            self._costs[tuple(getattr(event, name) for name in self.WHOSE)] += event.cost_nano
        self._by: dict[str, Counter[str]] = {}
        self._makers = ApiKey.objects.filter(public_id__in={who[2] for who in self._costs}).makers()

    WHOSE = ("organization_id", "project_id", "key_id", "user_id")

    def of(self, budget: _Budget) -> int:
        if budget.kind not in self._by:
            self._by[budget.kind] = self._summed(budget.kind)
        return self._by[budget.kind][budget.id]

    def _summed(self, kind: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for who, cost in self._costs.items():
            of = dict(zip(self.WHOSE, who, strict=True))
            if kind == PARTICIPANT:
                found[f"{of['project_id']}.{self._makers.get(of['key_id'], of['user_id'])}"] += cost
            else:
                found[of[f"{kind}_id"]] += cost
        return found


def _held(counted: _Counted) -> Counter[str]:
    """By the key of each budget, what the running calls have reserved of it."""
    held: Counter[str] = Counter()
    for organization, holds in counted.holds.items():
        for hold in holds.values():
            _second, _reserved, worst, flags, text = hold.split("|", 4)
            tail = orjson.loads(text)
            for (kind, name), flag in zip(tail["scopes"], flags, strict=True):
                if flag == "1":
                    held[f"ly:{{{organization}}}:{kind}:{name}:spent:{tail['period']}"] += int(worst)
    return held


def _compare_leases(counted: _Counted, *, repair: bool) -> Iterator[Difference]:
    client = servers.durable()
    for organization, holds in counted.holds.items():
        base, leases = f"ly:{{{organization}}}:", counted.leases[organization]
        if holds and organization not in counted.reaped:
            yield Difference("", organization, "calls that nobody would settle after a crash", 0, len(holds))
            if repair:
                client.sadd(ORGANIZATIONS, organization)
        if unleased := holds.keys() - leases:
            yield Difference("", organization, "reservations without an end", 0, len(unleased))
            if repair:
                # The process that has the call extends it; the reaper settles it where there is none.
                client.zadd(f"{base}leases", dict.fromkeys(unleased, _now_ms() + LEASE_MS))
        if unheld := leases - holds.keys():
            yield Difference("", organization, "ends of reservations that are gone", 0, len(unheld))
            if repair:
                client.zrem(f"{base}leases", *unheld)
    for (organization, key), members in counted.running.items():
        if left := members - counted.holds[organization].keys():
            yield Difference("", organization, f"slots of calls that are over, in {key}", 0, len(left))
            if repair:
                client.zrem(key, *left)


def _now_ms() -> int:
    seconds, microseconds = cast("tuple[int, int]", servers.durable().time())
    return seconds * 1000 + microseconds // 1000

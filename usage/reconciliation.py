"""Whether the events, their sums and what Redis has counted agree, and how they are made to: the events are the truth.

Compared under the drain's lock, so that nothing moves between the stream and the ledger meanwhile. Redis is read in one
step that also tells the last entry of the stream: what was settled up to there is in the counters, and it is in the
ledger or waits in the stream. What waits on a disk has reached neither.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

from django.db import connection
from django.db.models import Count, F, Q, Sum
from django.utils import timezone

from accounts.models import User
from apikeys.models import ApiKey
from common import redis as servers
from usage import spool
from usage.admission import LEASE_MS, draws_of, tail_of, waiting_events
from usage.alarms import alarm
from usage.counters import ORGANIZATIONS, Used, base_of
from usage.events import STREAM, Event
from usage.ingest import CELLS, DRAWN, DRAWS, columns_of, paused, roll_up, sums
from usage.kinds import DRIFT
from usage.models import HISTOGRAMS, MEASURES, ROLLUPS, CreditDraw, UsageEvent, UsageRollup5Min, UsageSums, first_id
from usage.periods import Period, periods_at
from usage.policies import CREDIT, KEY, MEMBER, MODEL, ORGANIZATION, PARTICIPANT, PLAN, PROJECT
from usage.scripts import CORRECT
from usage.services import KEPT

NAME = re.compile(
    r"ly:\{(?P<organization>[^}]+)\}:"
    # A model is called as it likes, with a colon in its name as well.
    r"(?:(?P<kind>[^:]+):(?P<id>.+):(?:used:(?P<period>\d+-\d+)|(?P<running>running))|holds|leases)"
)
FIELDS = ["spent", "held", "requests", "tokens", "gpu", "held_tokens", "seeding"]
COMPARED = (
    "spent nano-dollars", "reserved nano-dollars", "requests", "tokens", "milliseconds of servers", "reserved tokens",
)  # fmt: skip
OF_PEOPLE = {MEMBER, PARTICIPANT}
# The five-minute sums are forgotten by a task that may run at any moment.
FIVE_MINUTES_COMPARED = KEPT - timedelta(hours=2)

INSERTED = f"""
inserted AS (
    SELECT * FROM {UsageEvent._meta.db_table}
    WHERE id >= %(first_id)s AND id < %(last_id)s AND at >= %(start)s AND at < %(end)s
        AND {{whose}}
), {CELLS}
"""  # noqa: S608 - names only
COMPARE_DRAWS = f"""
WITH {INSERTED.format(whose="TRUE")},
truth AS ({DRAWS}),
kept AS (
    SELECT {DRAWN} FROM {CreditDraw._meta.db_table}
    WHERE day >= (%(start)s AT TIME ZONE 'UTC')::date AND day < (%(end)s AT TIME ZONE 'UTC')::date
)
SELECT organization_id, grant_id, day, coalesce(truth.nano, 0), coalesce(kept.nano, 0)
FROM truth FULL JOIN kept USING (organization_id, grant_id, day)
WHERE truth.nano IS DISTINCT FROM kept.nano
ORDER BY organization_id, grant_id, day
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
            result.events += UsageEvent.objects.between(*_bounds(month)).count()
            for table in ROLLUPS:
                result.differences += _compare_sums(table, month, repair=repair)
            result.differences += _compare_draws(month, repair=repair)
        _compare_counters(set(months), result, repair=repair)
    return result


def look_for_drift() -> None:
    """Alarm whoever runs the portal when something differs."""
    found = reconcile(this_month_and_the_last()).differences
    if found:
        alarm(DRIFT, places=len(found), organizations=len({difference.organization_id for difference in found}))


def month_of(moment: datetime) -> str:
    """The month of a moment (UTC): `202603`."""
    return f"{moment:%Y%m}"


def months_of(period: Period) -> set[str]:
    """The months that a period touches."""
    return {month_of(period.starts_at), month_of(period.ends_at - timedelta(seconds=1))}


def _bounds(month: str) -> tuple[datetime, datetime]:
    period = periods_at(datetime.strptime(month, "%Y%m").replace(tzinfo=UTC), "UTC").month
    return period.starts_at, period.ends_at


# Events and their sums -----------------------------------------------------------------------------------------------


def _compare_sums(table: type[UsageSums], month: str, *, repair: bool) -> Iterator[Difference]:
    start, end = _bounds(month)
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


def _compare_draws(month: str, *, repair: bool) -> Iterator[Difference]:
    start, end = _bounds(month)
    values: dict[str, Any] = {"start": start, "end": end, "first_id": first_id(start), "last_id": first_id(end)}
    with connection.cursor() as cursor:
        cursor.execute(COMPARE_DRAWS, values)
        differing = cursor.fetchall()
    for organization, grant, day, truth, found in differing:
        yield Difference(month, organization, f"draws on {grant} of {day}", int(truth), found)
        if repair and UsageEvent.objects.between(start, end).exists():
            CreditDraw.objects.update_or_create(
                {"organization_id": organization, "nano": int(truth)}, grant_id=grant, day=day
            )


# Counters ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Counter:
    """One counter as Redis has it. What it holds of running calls is in all of it but in money, which is kept apart;
    of tokens it is told besides."""

    key: str
    organization_id: str
    kind: str
    id: str
    period: Period
    used: Used
    held_nano: int
    held_tokens: int


class _Held(NamedTuple):
    """What running calls have reserved of a counter."""

    nano: int = 0
    requests: int = 0
    tokens: int = 0


@dataclass(slots=True)
class _Counted:
    """What Redis held at one moment: when `last` was the last entry of the stream."""

    last: str = "0-0"
    counters: list[_Counter] = field(default_factory=list)
    holds: dict[str, dict[str, str]] = field(default_factory=dict)
    leases: dict[str, set[str]] = field(default_factory=dict)
    running: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    reaped: set[str] = field(default_factory=set)


def _counted(months: set[str]) -> _Counted:
    client = servers.durable()
    keys = [found for key in client.scan_iter("ly:{*", count=1000) if (found := NAME.fullmatch(key))]
    counters = [
        key
        for key in keys
        # A grant of credits is one for all the months that it is drawn on.
        if key["period"] and (key["kind"] == CREDIT or months_of(Period.named(key["period"])) & months)
    ]
    running = [key for key in keys if key["running"]]
    organizations = sorted({key["organization"] for key in keys})
    pipeline = client.pipeline(transaction=True)
    pipeline.xrevrange(STREAM, count=1)
    pipeline.smembers(ORGANIZATIONS)
    for key in counters:
        pipeline.hmget(key[0], FIELDS)
    for key in running:
        pipeline.zrange(key[0], 0, -1)
    for organization in organizations:
        pipeline.hgetall(f"{base_of(organization)}holds")
        pipeline.zrange(f"{base_of(organization)}leases", 0, -1)
    answers: Iterator[Any] = iter(pipeline.execute())
    counted = _Counted()
    if last := next(answers):
        counted.last = last[0][0]
    counted.reaped = set(next(answers))
    for key in counters:
        spent, held, requests, tokens, gpu, held_tokens, seeding = next(answers)
        # Gone meanwhile, or being counted from the ledger at this moment.
        if spent is not None and seeding is None:
            used = Used(int(spent), int(requests), int(tokens), int(gpu))
            parts = key["organization"], key["kind"], key["id"], Period.named(key["period"])
            counted.counters.append(
                _Counter(key[0], *parts, used=used, held_nano=int(held), held_tokens=int(held_tokens or 0))
            )
    for key in running:
        counted.running[key["organization"], key[0]] = set(next(answers))
    for organization in organizations:
        counted.holds[organization] = next(answers)
        counted.leases[organization] = set(next(answers))
    return counted


def _compare_counters(months: set[str], result: Reconciliation, *, repair: bool) -> None:
    counted = _counted(months)
    periods = {counter.period for counter in counted.counters if counter.kind != CREDIT}
    waiting = waiting_events(
        counted.last,
        lambda event: (
            month_of(event.at) in months or event.draws is not None or any(period.holds(event.at) for period in periods)
        ),
    )
    result.waiting = sum(month_of(event.at) in months for event in waiting)
    result.counters = len(counted.counters)
    held = _held(counted)
    people = _people(counted.counters)
    for period in sorted(periods):
        truth = _Truth(period, [event for event in waiting if period.holds(event.at)], people)
        for counter in counted.counters:
            if counter.period == period and truth.can_tell(counter):
                result.differences += _compare_counter(counter, truth.of(counter), held[counter.key], repair=repair)
    grants = [counter for counter in counted.counters if counter.kind == CREDIT]
    drawn = _drawn([counter.id for counter in grants], waiting)
    for counter in grants:
        result.differences += _compare_counter(counter, Used(drawn[counter.id]), held[counter.key], repair=repair)
    result.differences += _compare_leases(counted, repair=repair)


def _people(counters: Iterable[_Counter]) -> set[str]:
    """Of those whose use is counted, the ids of who is still here under them."""
    ids = {_person(counter) for counter in counters if counter.kind in OF_PEOPLE}
    return set(User.objects.filter(public_id__in=ids).values_list("public_id", flat=True))


def _person(counter: _Counter) -> str:
    return counter.id.rpartition(".")[2]


def _drawn(grants: Sequence[str], waiting: list[Event]) -> "Counter[str]":
    """What was drawn on grants of credits, by the id of each."""
    drawn = Counter[str]()
    sums = CreditDraw.objects.filter(grant_id__in=grants).values_list("grant_id").annotate(sum=Sum("nano"))
    for grant, nano in sums:
        drawn[grant] = int(nano)
    for event in waiting:
        drawn.update(event.draws or {})
    return drawn


def _compare_counter(counter: _Counter, used: Used, held: _Held, *, repair: bool) -> Iterator[Difference]:
    tokens = used.tokens + held.tokens
    truths = (used.cost_nano, held.nano, used.requests + held.requests, tokens, used.gpu_ms, held.tokens)
    found = (counter.used.cost_nano, counter.held_nano, *counter.used[1:], counter.held_tokens)
    month = "" if counter.kind == CREDIT else f"{counter.period.starts_at:%Y%m}"
    for what, truth, is_there in zip(COMPARED, truths, found, strict=True):
        if truth != is_there:
            name = f"{counter.kind} {counter.id}: {what}"
            yield Difference(month, counter.organization_id, name, truth, is_there)
    if repair and truths != found:
        # What is wrong is added: calls go on to settle meanwhile.
        corrections = [str(truth - is_there) for truth, is_there in zip(truths, found, strict=True)]
        CORRECT.run(servers.durable(), keys=[counter.key], args=corrections)


class _Truth:
    """What was used in a period by the events, in the ledger and waiting for it, for any scope."""

    def __init__(self, period: Period, waiting: list[Event], people: set[str]) -> None:
        self._people = people
        self._used: defaultdict[tuple[str, ...], Used] = defaultdict(Used)
        # Of it, what credits paid: an organization's own counters take only the rest.
        self._credit = Counter[str]()
        reached = ~Q(backend="")
        rows = UsageEvent.objects.between(period.starts_at, period.ends_at)
        sums = rows.values_list(*self.WHOSE).annotate(
            cost=Sum("cost_nano"),
            requests=Count("pk", filter=reached),
            tokens=Sum("prompt_tokens") + Sum("completion_tokens"),
            gpu=Sum(F("latency_ms") - F("waited_ms"), filter=reached, default=0),
            credit=Sum("credit_nano", default=0),
        )
        for *who, cost, requests, tokens, gpu, credit in sums:
            self._used[tuple(who)] = Used(int(cost), requests, int(tokens), int(gpu))
            self._credit[who[0]] += int(credit)
        for event in waiting:
            who_else = tuple(getattr(event, name) for name in self.WHOSE)
            self._used[who_else] = self._used[who_else].plus(Used.by(event))
            self._credit[event.organization_id] += event.credit_nano or 0
        self._by: dict[str, defaultdict[tuple[str, str], Used]] = {}
        keys = ApiKey.objects.filter(public_id__in={who[2] for who in self._used})
        self._makers = keys.makers()
        known = {"", *keys.values_list("public_id", flat=True)}
        self._gone = {who[0] for who in self._used if who[2] not in known}

    WHOSE = ("organization_id", "project_id", "key_id", "user_id", "model")

    def can_tell(self, counter: _Counter) -> bool:
        """Not of somebody whose account was erased, who has another id since, nor of people in an organization that was
        erased: whose its keys were went with it."""
        if counter.kind not in OF_PEOPLE:
            return True
        return _person(counter) in self._people and counter.organization_id not in self._gone

    def of(self, counter: _Counter) -> Used:
        if counter.kind not in self._by:
            self._by[counter.kind] = self._summed(counter.kind)
        return self._by[counter.kind][counter.organization_id, counter.id]

    def _summed(self, kind: str) -> "defaultdict[tuple[str, str], Used]":
        found: defaultdict[tuple[str, str], Used] = defaultdict(Used)
        for who, used in self._used.items():
            organization, project, key, user, model = who
            person = self._makers.get(key, user)
            scope = {
                KEY: key,
                PARTICIPANT: f"{project}.{person}",
                MEMBER: f"{organization}.{person}",
                PROJECT: project,
                ORGANIZATION: organization,
                PLAN: organization,
                MODEL: model,
            }[kind]
            found[organization, scope] = found[organization, scope].plus(used)
        if kind == ORGANIZATION:
            for organization, credit in self._credit.items():
                found[organization, organization] = found[organization, organization].plus(Used(-credit))
        return found


def _held(counted: _Counted) -> "defaultdict[str, _Held]":
    """By the key of each counter."""
    found: defaultdict[str, _Held] = defaultdict(_Held)
    for organization, holds in counted.holds.items():
        for hold in holds.values():
            _second, reserved, worst, flags, _rest = hold.split("|", 4)
            draws, names = draws_of(hold), tail_of(hold).get("counters", ())
            for number, (name, flag) in enumerate(zip(names, flags, strict=False)):
                if flag == "1":
                    key = base_of(organization) + name
                    nano, requests, tokens = found[key]
                    grant = number - len(names) + len(draws)
                    if grant >= 0:
                        found[key] = _Held(nano + draws[grant])
                        continue
                    due = int(worst) - (sum(draws) if name.startswith(f"{ORGANIZATION}:") else 0)
                    found[key] = _Held(nano + due, requests + 1, tokens + int(reserved))
    return found


def _compare_leases(counted: _Counted, *, repair: bool) -> Iterator[Difference]:
    client = servers.durable()
    for organization, holds in counted.holds.items():
        base, leases = base_of(organization), counted.leases[organization]
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

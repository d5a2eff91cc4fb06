"""What the usage page and its API say. Everything is summed from the roll-ups: no report counts calls one by one."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from functools import cached_property
from typing import Any

from django.db.models import DateField, DateTimeField, F, Func, Max, Q, QuerySet, Sum, TextChoices, Value
from django.db.models.functions import ExtractHour, ExtractIsoWeekDay, TruncDate, TruncMonth
from django.db.models.lookups import LessThan
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from apikeys.models import ApiKey
from common.zones import UTC
from usage import histograms
from usage.histograms import Percentiles
from usage.measures import Measures
from usage.models import (
    Source,
    UsageEvent,
    UsageKeyDay,
    UsageProjectHour,
    UsageRollup,
    UsageRollup5Min,
    UsageRollup15Min,
    made_with,
)
from usage.outcomes import OF_OUTCOME, Outcome, ended_with, failed_with, outcome_named
from usage.problems import Problem, problem_of
from usage.sight import Sights, seen_of

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
FIVE_MINUTES = timedelta(minutes=5)


class Window(TextChoices):
    """How far back a report looks. Each ends now."""

    HOUR = "1h", gettext_lazy("Last hour")
    TODAY = "today", gettext_lazy("Today")
    WEEK = "7d", gettext_lazy("7 days")
    MONTH = "30d", gettext_lazy("30 days")
    QUARTER = "90d", gettext_lazy("90 days")
    YEAR = "12m", gettext_lazy("12 months")


class Group(TextChoices):
    """What a report is broken down by."""

    MODEL = "model", gettext_lazy("Model")
    KEY = "key", gettext_lazy("API key")
    MEMBER = "member", gettext_lazy("Member")
    ENDPOINT = "endpoint", gettext_lazy("Endpoint")
    STATUS = "status", gettext_lazy("Status")


NOBODY = ""
"""The id of the row of members for calls with keys whose makers are not known: those of service accounts, or gone."""


class KeyState(TextChoices):
    """What has become of a key since it was used; models and the playground are always CURRENT."""

    CURRENT = "current", gettext_lazy("In use")
    REVOKED = "revoked", gettext_lazy("Revoked")
    GONE = "gone", gettext_lazy("Deleted")


@dataclass(frozen=True)
class Sums(Measures):
    """Counts that can be added up. Means are None where nothing was measured, which is not the same as zero."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0
    latency_ms_sum: int = 0
    latency_count: int = 0
    first_token_ms_sum: int = 0
    first_token_count: int = 0
    latency_histogram: int = 0
    first_token_histogram: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def error_share(self) -> float | None:
        return self.errors / self.requests if self.requests else None

    @property
    def mean_cost_nano(self) -> int | None:
        return self.cost_nano // self.requests if self.requests else None

    @property
    def mean_latency_ms(self) -> float | None:
        return self.latency_ms_sum / self.latency_count if self.latency_count else None

    @property
    def mean_first_token_ms(self) -> float | None:
        return self.first_token_ms_sum / self.first_token_count if self.first_token_count else None

    @cached_property
    def latency(self) -> Percentiles | None:
        """How long half, 95 and 99 of 100 calls took at most, a tenth off."""
        return histograms.percentiles(self.latency_histogram)

    @cached_property
    def first_token(self) -> Percentiles | None:
        return histograms.percentiles(self.first_token_histogram)

    @property
    def median_latency_ms(self) -> float | None:
        return self.latency.p50 if self.latency else None

    @property
    def median_first_token_ms(self) -> float | None:
        return self.first_token.p50 if self.first_token else None


NOTHING = Sums()


@dataclass(frozen=True)
class Narrowing:
    """What a report is narrowed to. `key` is a key's public id, or the source of calls made without one.

    A `member` made the call without a key, or made its key. `status` is how it ended: one of `usage.outcomes`, or an
    HTTP status; `code` is the error's.
    """

    model: str | None = None
    key: str | None = None
    member: str | None = None
    endpoint: str | None = None
    status: str | None = None
    code: str | None = None

    @property
    def needs_keys(self) -> bool:
        """Whether only sums that tell keys apart can be narrowed so."""
        return self.key is not None or self.member is not None

    def applied(self) -> Q:
        """The condition that keeps these sums."""
        condition = Q()
        if self.model is not None:
            condition &= Q(model=self.model)
        if self.key in Source.values:
            condition &= Q(source=self.key, key_id="")
        elif self.key is not None:
            condition &= Q(key_id=self.key)
        if self.member is not None:
            # As a list: asked about each row, PostgreSQL would not walk along the index.
            keys = ApiKey.objects.made_by([self.member]).values_list("public_id", flat=True)
            condition &= Q(user_id=self.member) | Q(key_id__in=list(keys))
        if self.endpoint is not None:
            condition &= Q(endpoint=self.endpoint)
        if self.status is not None:
            condition &= ended_with(self.status)
        if self.code is not None:
            condition &= failed_with(self.code)
        return condition


EVERYTHING = Narrowing()


@dataclass(frozen=True)
class Period:
    """A window laid on the clock: when it began, its slices, and the equally long part of the period before.

    Without a `step` slices are days of `zone`, or months. It is UTC for what looks back further than 35 days, which is
    made of sums of days.

    `before_end` stands as far into its period as now stands in this one, so that a morning is compared with a morning;
    the sum that it lies in is counted whole.

    `before_starts` has for each of `starts` the slice that it is compared with, of the whole period before: the same
    hour on the clock, a day or month by its place. None where the clock did not show such an hour. What it showed
    besides belongs to the hour before it, so that together they are all of that period.

    `rollup` can be narrowed to anything.
    """

    start: datetime
    end: datetime
    before_start: datetime
    before_end: datetime
    starts: tuple[datetime, ...]
    before_starts: tuple[datetime | None, ...]
    step: timedelta | None
    rollup: type[UsageRollup]
    zone: tzinfo
    is_by_month: bool = False

    @property
    def is_of_hours(self) -> bool:
        """Whether its days can be made of whole hours of UTC, though `rollup` has shorter ones."""
        return (
            self.rollup is UsageRollup15Min
            and self.step is None
            and not any(start.minute for start in (*self.before_starts, *self.starts) if start)
        )


@dataclass(frozen=True)
class Slice:
    """One bar of a chart: what happened from `start` on, in all and per group."""

    start: datetime
    sums: Sums
    groups: Mapping[str, Sums]


@dataclass(frozen=True)
class Name:
    """How a row is called. `hint` tells keys of one name apart."""

    label: str
    hint: str = ""
    state: KeyState = KeyState.CURRENT


@dataclass(frozen=True)
class Row:
    """One of what a report is broken down by. `id` is a model's name, a key's public id or the source of calls made
    without a key, a person's id, an endpoint, an HTTP status."""

    id: str
    name: Name
    sums: Sums
    before: Sums


@dataclass(frozen=True)
class Failure:
    """Calls that failed with one code, or with one status where there is none: in all, and from each slice on."""

    status: int
    code: str
    calls: int
    slices: Mapping[datetime, int]

    @property
    def label(self) -> str:
        return self.code or str(self.status)

    @property
    def problem(self) -> Problem | None:
        """Which part of the documentation says more."""
        return problem_of(UsageEvent(status=self.status, error_code=self.code))


@dataclass(frozen=True)
class Report:
    """A project's usage in one window. `rows` begin with the busiest; `slices` cover the window without a gap.

    `before` and that of rows is what the period before had come to by then. `before_slices` are all of that period, one
    for each of `slices`; None where there is none to compare with, and empty where nobody asked for them.
    """

    window: Window
    group: Group
    narrowing: Narrowing
    zone: tzinfo
    period: Period
    totals: Sums
    before: Sums
    slices: tuple[Slice, ...]
    before_slices: tuple[Slice | None, ...]
    rows: tuple[Row, ...]

    @cached_property
    def whole_before(self) -> Sums:
        """What `before_slices` come to."""
        return sum((piece.sums for piece in self.before_slices if piece), NOTHING)


def usage_report(
    *,
    sights: Sights,
    window: Window,
    group: Group,
    narrowing: Narrowing = EVERYTHING,
    zone: tzinfo,
    now: datetime,
    compares: bool = False,
) -> Report:
    """The usage that is seen in `window`, its days being the days of `zone`; with the slices of the period before where
    it `compares`.

    Three queries at most: this period, the one before, and the names of the keys that occur; of members two more.
    """
    period = period_of(window, zone=zone, now=now)
    sights = telling(sights, by_member=group is Group.MEMBER or narrowing.member is not None)
    scope = _scope(sights, period=period, group=group, narrowing=narrowing)
    makers = _makers(sights) if group is Group.MEMBER else {}
    slices = _slices(scope, period=period, group=group, makers=makers)
    before, before_slices = _before(scope, period=period, group=group, makers=makers, compares=compares)
    by_group: dict[str, Sums] = defaultdict(Sums)
    for piece in slices:
        for name, sums in piece.groups.items():
            by_group[name] += sums
    return Report(
        window=window,
        group=group,
        narrowing=narrowing,
        zone=period.zone,
        period=period,
        totals=sum(by_group.values(), NOTHING),
        before=sum(before.values(), NOTHING),
        slices=slices,
        before_slices=before_slices,
        rows=_rows(by_group, before=before, group=group, sights=sights),
    )


def failures(report: Report, *, sights: Sights) -> list[Failure]:
    """What the errors of a report were, the most frequent first: exactly the calls that the request log has of them.

    One query.
    """
    period = report.period
    return failures_of(
        _scope_of(report, sights),
        totals=report.totals,
        slices=_slice_of("bucket_at", period, origin=period.start),
        start_of=lambda piece: _start_of(piece, period),
    )


def failures_of(
    scope: QuerySet[Any], *, totals: Sums, slices: Any, start_of: Callable[[Any], datetime] = lambda piece: piece
) -> list[Failure]:
    """What failed of these sums, which had come to `totals`, the most frequent first.

    `slices` is the expression for the slice of time that a sum is of, `start_of` when such a one begins.
    """
    # A first call to fail that came since those were read would be a share of nothing.
    if not totals.errors:
        return []
    rows = scope.filter(OF_OUTCOME[Outcome.FAILED]).annotate(slice=slices)
    rows = rows.values("slice", "status", "error_code").annotate(calls=Sum("requests"))
    found: dict[tuple[int, str], dict[datetime, int]] = defaultdict(dict)
    for row in rows:
        found[row["status"], row["error_code"]][start_of(row["slice"])] = int(row["calls"])
    kinds = [Failure(status, code, sum(by.values()), by) for (status, code), by in found.items()]
    return sorted(kinds, key=lambda kind: (-kind.calls, kind.status, kind.code))


@dataclass(frozen=True)
class Week:
    """Requests by weekday, from Monday on, and hour."""

    days: tuple[tuple[int, ...], ...]

    @property
    def busiest(self) -> tuple[int, int]:
        """The weekday, from 0 for Monday, and the hour with most."""
        return max(((day, hour) for day in range(7) for hour in range(24)), key=lambda at: self.days[at[0]][at[1]])

    @property
    def most(self) -> int:
        return max(max(hours) for hours in self.days)


def week_of(report: Report, *, sights: Sights) -> Week | None:
    """When in the week the requests of a report were made, on the clock of its zone. One query.

    None where it has none, has no whole week, or is made of sums of days, which know no hours.
    """
    if report.window not in {Window.WEEK, Window.MONTH} or not report.totals.requests:
        return None
    period = report.period
    counted = _scope_of(report, sights).annotate(
        weekday=ExtractIsoWeekDay("bucket_at", tzinfo=period.zone), hour=ExtractHour("bucket_at", tzinfo=period.zone)
    )
    days = [[0] * 24 for _day in range(7)]
    for weekday, hour, requests in counted.values_list("weekday", "hour").annotate(Sum("requests")):
        days[weekday - 1][hour] = int(requests)
    return Week(tuple(tuple(hours) for hours in days))


def has_usage(*, sights: Sights) -> bool:
    """Whether anything that is seen was ever called."""
    return UsageRollup15Min.objects.filter(seen_of(sights)).exists()


def last_change(*, sights: Sights, period: Period) -> datetime | None:
    """When a sum of the last day of `period` was last added to; None when there is none.

    A day, because every open page asks every few seconds, and a call is in the sums within seconds of its end.
    """
    newest: datetime | None = period.rollup._default_manager.filter(
        _between(max(period.start, period.end - DAY), period.end),
        seen_of(sights),
    ).aggregate(newest=Max("updated_at"))["newest"]
    return newest


def period_of(window: Window, *, zone: tzinfo, now: datetime) -> Period:
    """Where `window` lies at the moment `now` for someone whose clock runs in `zone`."""
    if window is Window.HOUR:
        start = _floor(now, FIVE_MINUTES) - HOUR + FIVE_MINUTES
        return Period(
            start=start,
            end=now,
            before_start=start - HOUR,
            before_end=now - HOUR,
            starts=tuple(start + FIVE_MINUTES * i for i in range(12)),
            before_starts=tuple(start - HOUR + FIVE_MINUTES * i for i in range(12)),
            step=FIVE_MINUTES,
            rollup=UsageRollup5Min,
            zone=zone,
        )
    if window is Window.YEAR:
        return _year(now)
    if window is Window.QUARTER:
        zone = UTC
    local = now.astimezone(zone)
    days = {Window.TODAY: 1, Window.WEEK: 7, Window.MONTH: 30, Window.QUARTER: 90}[window]
    first = local.date() - timedelta(days=days - 1)
    start = _midnight(first, zone)
    before_starts: tuple[datetime | None, ...]
    if window is Window.TODAY:
        # Hours are counted from midnight in real time: the day a clock is changed has 23 or 25 of them.
        length = _midnight(first + timedelta(days=1), zone) - start
        starts = tuple(start + HOUR * i for i in range(-(-length // HOUR)))
        before_starts = _same_hours(starts, first - timedelta(days=1), zone)
    else:
        starts = tuple(_midnight(first + timedelta(days=i), zone) for i in range(days))
        before_starts = tuple(_midnight(first + timedelta(days=i - days), zone) for i in range(days))
    return Period(
        start=start,
        end=now,
        before_start=_midnight(first - timedelta(days=days), zone),
        before_end=datetime.combine(local.date() - timedelta(days=days), local.time(), tzinfo=zone).astimezone(UTC),
        starts=starts,
        before_starts=before_starts,
        step=HOUR if window is Window.TODAY else None,
        rollup=UsageKeyDay if window is Window.QUARTER else UsageRollup15Min,
        zone=zone,
    )


def _year(now: datetime) -> Period:
    today = now.astimezone(UTC).date()
    # Months since the year 0: this one, and those before it.
    this = today.year * 12 + today.month - 1
    starts = [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(this - 23, this + 1)]
    return Period(
        start=starts[12],
        end=now,
        before_start=starts[0],
        before_end=min(starts[11] + (now - starts[23]), starts[12]),
        starts=tuple(starts[12:]),
        before_starts=tuple(starts[:12]),
        step=None,
        rollup=UsageKeyDay,
        zone=UTC,
        is_by_month=True,
    )


def _midnight(day: date, zone: tzinfo) -> datetime:
    # In UTC, because the difference of two times in one zone ignores a change of clock between them.
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def _same_hours(starts: Sequence[datetime], day: date, zone: tzinfo) -> tuple[datetime | None, ...]:
    """When the clock showed on `day` what it shows at each of `starts`, the first of which begins a day.

    Of an hour that comes twice on either day it is the first.
    """
    found: list[datetime | None] = [_midnight(day, zone)]
    for start in starts[1:]:
        reading = start.astimezone(zone).time()
        moment = datetime.combine(day, reading.replace(fold=0), tzinfo=zone).astimezone(UTC)
        is_shown = moment.astimezone(zone).time() == reading
        found.append(moment if is_shown and moment not in found else None)
    return tuple(found)


def _floor(moment: datetime, step: timedelta) -> datetime:
    seconds = int(step.total_seconds())
    return datetime.fromtimestamp(int(moment.timestamp()) // seconds * seconds, tz=UTC)


def _between(start: datetime, end: datetime) -> Q:
    return Q(bucket_at__gte=start, bucket_at__lt=end)


def telling(sights: Sights, *, by_member: bool) -> Sights:
    """Those of which it may be told whose calls they are, if that is asked."""
    return [sight for sight in sights if sight.sees_people or sight.own is not None] if by_member else sights


def _scope(sights: Sights, *, period: Period, group: Group, narrowing: Narrowing) -> QuerySet[Any]:
    """The sums that are seen and asked for, in the table that has the fewest of them."""
    needs_keys = group in {Group.KEY, Group.MEMBER} or narrowing.needs_keys or any(sight.own for sight in sights)
    table = UsageProjectHour if period.is_of_hours and not needs_keys else period.rollup
    return table._default_manager.filter(narrowing.applied(), seen_of(sights))


def _scope_of(report: Report, sights: Sights) -> QuerySet[Any]:
    """Those that a report is made of, without those of the period before."""
    period, group, narrowing = report.period, report.group, report.narrowing
    sights = telling(sights, by_member=group is Group.MEMBER or narrowing.member is not None)
    scope = _scope(sights, period=period, group=group, narrowing=narrowing)
    return scope.filter(_between(period.start, period.end))


def _makers(sights: Sights) -> dict[str, str]:
    return ApiKey.objects.filter(project__in=[sight.project for sight in sights]).makers()


def _slice_of(column: str, period: Period, *, origin: datetime) -> Func | TruncDate | TruncMonth:
    """The expression for the slice that a time lies in, of which `_start_of` makes its beginning.

    Steps are counted from `origin`.
    """
    if period.is_by_month:
        return TruncMonth(column, output_field=DateField(), tzinfo=period.zone)
    if period.step is None:
        return TruncDate(column, tzinfo=period.zone)
    return Func(Value(period.step), F(column), Value(origin), function="date_bin", output_field=DateTimeField())


def _start_of(value: Any, period: Period) -> datetime:
    start: datetime = _midnight(value, period.zone) if period.step is None else value
    return start


def _slices(scope: QuerySet[Any], *, period: Period, group: Group, makers: Mapping[str, str]) -> tuple[Slice, ...]:
    cells: dict[datetime, dict[str, Sums]] = defaultdict(lambda: defaultdict(Sums))
    rows = scope.filter(_between(period.start, period.end)).annotate(
        slice=_slice_of("bucket_at", period, origin=period.start)
    )
    for row in rows.values("slice", *COLUMNS[group]).annotate(**Sums.sums()):
        cells[_start_of(row["slice"], period)][_group_id(row, group, makers)] += Sums.read(row)
    return tuple(
        Slice(start=start, sums=sum(cells[start].values(), NOTHING), groups=cells[start]) for start in period.starts
    )


def _before(
    scope: QuerySet[Any], *, period: Period, group: Group, makers: Mapping[str, str], compares: bool
) -> tuple[dict[str, Sums], tuple[Slice | None, ...]]:
    """The period before: per group until `before_end`, and where it `compares` in slices, whole. One query."""
    if not compares:
        until_then = scope.filter(_between(period.before_start, period.before_end))
        return _sums_by_group(until_then, group, makers), ()
    starts = [start for start in period.before_starts if start]
    by_start: dict[datetime, Sums] = defaultdict(Sums)
    by_group: dict[str, Sums] = defaultdict(Sums)
    rows = scope.filter(_between(period.before_start, period.start)).annotate(
        slice=_slice_of("bucket_at", period, origin=period.before_start),
        is_by_then=LessThan(F("bucket_at"), period.before_end),
    )
    for row in rows.values("slice", "is_by_then", *COLUMNS[group]).annotate(**Sums.sums()):
        sums = Sums.read(row)
        by_start[starts[bisect_right(starts, _start_of(row["slice"], period)) - 1]] += sums
        if row["is_by_then"]:
            by_group[_group_id(row, group, makers)] += sums
    return by_group, tuple(Slice(start, by_start[start], {}) if start else None for start in period.before_starts)


def _sums_by_group(scope: QuerySet[Any], group: Group, makers: Mapping[str, str]) -> dict[str, Sums]:
    found: dict[str, Sums] = defaultdict(Sums)
    for row in scope.values(*COLUMNS[group]).annotate(**Sums.sums()):
        found[_group_id(row, group, makers)] += Sums.read(row)
    return found


COLUMNS: Mapping[Group, Sequence[str]] = {
    Group.MODEL: ("model",),
    Group.KEY: ("source", "key_id"),
    Group.MEMBER: ("user_id", "key_id"),
    Group.ENDPOINT: ("endpoint",),
    Group.STATUS: ("status",),
}


def _group_id(row: Mapping[str, Any], group: Group, makers: Mapping[str, str]) -> str:
    if group is Group.KEY:
        return made_with(row["key_id"], row["source"])
    if group is Group.MEMBER:
        return row["user_id"] or makers.get(row["key_id"], NOBODY)
    return str(row[group.value])


def _rows(by_group: Mapping[str, Sums], *, before: Mapping[str, Sums], group: Group, sights: Sights) -> tuple[Row, ...]:
    if group is Group.KEY:
        names = key_names(by_group, sights=sights)
    elif group is Group.MEMBER:
        names = member_names(by_group)
    elif group is Group.ENDPOINT:
        names = {path: Name(f"/v1/{path}") for path in by_group}
    elif group is Group.STATUS:
        names = {status: Name(outcome_named(status)) for status in by_group}
    else:
        names = {model: Name(model or _("No model named")) for model in by_group}
    rows = [Row(name, names[name], sums=sums, before=before.get(name, NOTHING)) for name, sums in by_group.items()]
    return tuple(sorted(rows, key=lambda row: (-row.sums.requests, -row.sums.tokens, row.name.label)))


def key_names(ids: Collection[str], *, sights: Sights) -> dict[str, Name]:
    """What to call each of `ids`, which are what calls were `made_with`."""
    sources = {source.value: Name(str(source.label)) for source in Source}
    wanted = {key_id for key_id in ids if key_id not in sources}
    found: dict[str, Name] = {}
    if wanted:
        for key in ApiKey.objects.filter(public_id__in=wanted, project__in=[sight.project for sight in sights]):
            state = KeyState.REVOKED if key.is_revoked else KeyState.CURRENT
            found[key.public_id] = Name(key.name, key.hint, state)
    gone = {key_id: Name(_("Deleted key"), key_id, KeyState.GONE) for key_id in wanted - found.keys()}
    return {key_id: sources[key_id] for key_id in ids if key_id in sources} | found | gone


def member_names(ids: Collection[str]) -> dict[str, Name]:
    """What to call each of these people; whoever is gone has a name no more."""
    found = {user.public_id: Name(user.display_name) for user in User.objects.filter(public_id__in=ids)}
    gone = {id_: Name(_("Deleted account"), id_, KeyState.GONE) for id_ in set(ids) - found.keys()}
    return found | gone | {NOBODY: Name(_("Service accounts, and keys whose makers are gone"))}

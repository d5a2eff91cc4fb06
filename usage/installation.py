"""What the whole portal was used for, for those who run it: of the sums of hours and of organizations' days alone.

Hours and days are those of UTC, for all organizations have part in them.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from django.db.models import Count, Q, TextChoices
from django.db.models.functions import TruncDay, TruncHour
from django.db.models.functions.datetime import TruncBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import Membership, Organization, Project
from accounts.roles import Role
from common.zones import UTC
from usage.models import (
    MADE_AGAIN,
    UsageEvent,
    UsageInstallationHour,
    UsageOrganizationDay,
    UsageProjectHour,
    UsageSums,
)
from usage.reports import DAY, HOUR, NOTHING, Failure, KeyState, Name, Row, Slice, Sums, failures_of


class Span(TextChoices):
    """How far back is looked. Each ends now."""

    HOUR = "1h", gettext_lazy("Last hour")
    DAY = "24h", gettext_lazy("24 hours")
    WEEK = "7d", gettext_lazy("7 days")
    MONTH = "30d", gettext_lazy("30 days")


HOURS = {Span.HOUR: 2, Span.DAY: 24}
DAYS = {Span.WEEK: 7, Span.MONTH: 30}


@dataclass(frozen=True)
class Time:
    """A span laid on the clock. It begins with a whole hour or day, so that sums of these answer: the last hour is the
    running one and the whole one before."""

    start: datetime
    end: datetime
    starts: tuple[datetime, ...]
    step: timedelta | None
    """The length of a slice; None for days."""
    is_by_month: bool = False

    @property
    def within(self) -> Q:
        """The condition that keeps the sums of it."""
        return Q(bucket_at__gte=self.start, bucket_at__lt=self.end)

    @property
    def slice(self) -> TruncBase:
        """The expression for the beginning of the slice that a sum is of."""
        return (TruncHour if self.step else TruncDay)("bucket_at", tzinfo=UTC)


@dataclass(frozen=True)
class Server:
    """A model at a backend. Without a backend it stands for what was refused, or failed, before one was asked.

    `taken_over` are calls that other servers had been asked for in vain, `repeated` those that their clients say they
    had made before.
    """

    backend: str
    model: str
    sums: Sums
    taken_over: int
    repeated: int


@dataclass(frozen=True)
class Overview:
    """What everybody used in a span. What stands in order begins with the busiest, or the most frequent."""

    period: Time
    zone: tzinfo
    totals: Sums
    slices: tuple[Slice, ...]
    rows: tuple[Row, ...]
    """The models."""
    servers: tuple[Server, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Organizations:
    """Who used the portal in a span, the busiest first."""

    rows: tuple[Row, ...]
    totals: Sums


@dataclass(frozen=True)
class OfOrganization:
    """What one organization used in a span."""

    totals: Sums
    projects: tuple[Row, ...]
    models: tuple[Row, ...]
    failures: tuple[Failure, ...]


def time_of(span: Span, *, now: datetime) -> Time:
    """Where the span lies at the moment `now`."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if span in HOURS:
        starts = tuple(hour - HOUR * back for back in reversed(range(HOURS[span])))
        return Time(starts[0], now, starts, HOUR)
    starts = tuple(hour.replace(hour=0) - DAY * back for back in reversed(range(DAYS[span])))
    return Time(starts[0], now, starts, None)


def overview(time: Time) -> Overview:
    """Three queries at most, however many calls there were."""
    cells: dict[datetime, dict[str, Sums]] = defaultdict(lambda: defaultdict(Sums))
    by_server: dict[tuple[str, str], Sums] = defaultdict(Sums)
    found = UsageInstallationHour.objects.filter(time.within).annotate(slice=time.slice)
    for row in found.values("slice", "backend", "model").annotate(**Sums.sums()):
        sums = Sums.read(row)
        cells[row["slice"]][row["model"]] += sums
        # What no server was asked for is one row, whatever was asked for.
        by_server[row["backend"], row["model"] if row["backend"] else ""] += sums
    slices = tuple(Slice(start, sum(cells[start].values(), NOTHING), cells[start]) for start in time.starts)
    by_model: dict[str, Sums] = defaultdict(Sums)
    for piece in slices:
        for model, sums in piece.groups.items():
            by_model[model] += sums
    totals = sum(by_model.values(), NOTHING)
    return Overview(
        period=time,
        zone=UTC,
        totals=totals,
        slices=slices,
        rows=_models(by_model),
        servers=_servers(by_server, time),
        failures=tuple(
            failures_of(UsageInstallationHour.objects.filter(time.within), totals=totals, slices=time.slice)
        ),
    )


def organizations(time: Time) -> Organizations:
    """Three queries, however many they are."""
    # Of days where the span is made of whole ones: they are fewest.
    table: type[UsageSums] = UsageProjectHour if time.step else UsageOrganizationDay
    found = table.objects.filter(time.within).values("organization_id").annotate(**Sums.sums())
    sums = {row["organization_id"]: Sums.read(row) for row in found}
    known = Organization.objects.filter(public_id__in=sums)
    owners = Membership.objects.filter(organization__in=known, organization__is_personal=True, role=Role.OWNER)
    # All personal ones have one name.
    hints = {one.organization_id: one.user.display_name for one in owners.select_related("user")}
    names = {one.public_id: Name(one.display_name, hints.get(one.pk, "")) for one in known}
    return Organizations(_rows(sums, names, gone=_("Deleted organization")), sum(sums.values(), NOTHING))


def of_organization(organization: Organization, time: Time) -> OfOrganization:
    """Three queries at most. Projects that were deleted are not in it."""
    projects = Project.objects.filter(organization=organization)
    names = {project.public_id: Name(project.display_name) for project in projects}
    # By its projects, and as a list: so the index finds them.
    theirs = UsageProjectHour.objects.filter(time.within, project_id__in=list(names))
    by_project: dict[str, Sums] = defaultdict(Sums)
    by_model: dict[str, Sums] = defaultdict(Sums)
    for row in theirs.values("project_id", "model").annotate(**Sums.sums()):
        sums = Sums.read(row)
        by_project[row["project_id"]] += sums
        by_model[row["model"]] += sums
    totals = sum(by_project.values(), NOTHING)
    return OfOrganization(
        totals=totals,
        projects=_rows(by_project, names),
        models=_models(by_model),
        failures=tuple(failures_of(theirs, totals=totals, slices=time.slice)),
    )


def _servers(by_server: Mapping[tuple[str, str], Sums], time: Time) -> tuple[Server, ...]:
    # Of the calls themselves: those that were made again are few, and PostgreSQL keeps them apart.
    again = UsageEvent.objects.between(time.start, time.end).filter(MADE_AGAIN)
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    made = again.values_list("backend", "model").annotate(
        taken_over=Count("pk", filter=Q(failovers__gt=0)), repeated=Count("pk", filter=Q(retries__gt=0))
    )
    for backend, model, taken_over, repeated in made:
        place = counts[backend, model if backend else ""]
        place[0] += taken_over
        place[1] += repeated
    servers = [Server(*place, sums, *counts[place]) for place, sums in by_server.items()]
    return tuple(sorted(servers, key=lambda one: (-one.sums.requests, one.backend, one.model)))


def _models(by_model: Mapping[str, Sums]) -> tuple[Row, ...]:
    return _rows(by_model, {model: Name(model or _("No model named")) for model in by_model})


def _rows(by_id: Mapping[str, Sums], names: Mapping[str, Name], *, gone: str = "") -> tuple[Row, ...]:
    rows = [
        Row(id_, names.get(id_) or Name(gone, id_, KeyState.GONE), sums=sums, before=NOTHING)
        for id_, sums in by_id.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.sums.requests, -row.sums.tokens, row.name.label)))

"""What an organization used in a calendar month, from the sums: to the nano-dollar what its calls add up to."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self, TypeVar

from django.db.models import QuerySet
from django.db.models.functions import TruncMonth
from django.utils.translation import gettext as _

from accounts.models import Organization, Project
from usage.measures import Measures
from usage.models import UsageRollup15Min, made_with
from usage.periods import periods_at
from usage.reports import Name, key_names
from usage.sight import Sight

Of = TypeVar("Of", bound=Hashable)


@dataclass(frozen=True, order=True)
class Month:
    """A month of UTC's calendar, whatever time zone the organization has its budgets in."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> Self:
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    @classmethod
    def named(cls, name: str) -> Self | None:
        """The month of a name such as `2026-03`; None for anything else."""
        found = re.fullmatch(r"(20[0-9]{2})-(0[1-9]|1[0-2])", name)
        return cls(int(found[1]), int(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02}"

    @property
    def first_day(self) -> date:
        return date(self.year, self.number, 1)

    @property
    def last_day(self) -> date:
        return (self.end - timedelta(days=1)).date()

    @property
    def start(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """When the next one begins."""
        return periods_at(self.start, "UTC").month.ends_at


@dataclass(frozen=True)
class Charges(Measures):
    """What is charged for, its cost, and what of it credits paid."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0
    credit_nano: int = 0

    @property
    def due_nano(self) -> int:
        """What credits did not pay."""
        return self.cost_nano - self.credit_nano


NO_CHARGES = Charges()


@dataclass(frozen=True)
class Line:
    """What one project used of one model with one key; `key_id` is the source of calls that were made without one."""

    project: Project
    model: str
    key_id: str
    key: Name
    charges: Charges


@dataclass(frozen=True)
class Part:
    """A row of one of a statement's tables."""

    label: str
    hint: str
    charges: Charges


@dataclass(frozen=True)
class Statement:
    """A month of an organization. Until it is over the figures grow."""

    organization: Organization
    month: Month
    is_over: bool
    lines: tuple[Line, ...]

    @property
    def total(self) -> Charges:
        return sum((line.charges for line in self.lines), NO_CHARGES)

    @property
    def by_project(self) -> list[Part]:
        return self._parts(lambda line: (line.project.display_name, ""))

    @property
    def by_model(self) -> list[Part]:
        return self._parts(lambda line: (line.model, ""))

    @property
    def by_key(self) -> list[Part]:
        """Keys of one name apart: by their hint and their project."""
        return self._parts(lambda line: (line.key.label, line.key.hint, line.project.display_name, line.key_id))

    def _parts(self, of: Callable[[Line], tuple[str, ...]]) -> list[Part]:
        sums = _sums((of(line), line.charges) for line in self.lines)
        parts = [Part(label, " · ".join(filter(None, hints[:2])), charges) for (label, *hints), charges in sums.items()]
        return sorted(parts, key=lambda part: (-part.charges.cost_nano, -part.charges.requests, part.label))


def months_of(organization: Organization) -> list[tuple[Month, Charges]]:
    """The months in which the organization used anything, the last one first."""
    rows = _sums_of(organization).annotate(month=TruncMonth("bucket_at", tzinfo=UTC)).values("month")
    sums: Any = rows.annotate(**Charges.sums()).order_by("-month")
    return [(Month.of(row["month"]), Charges.read(row)) for row in sums]


def statement(organization: Organization, month: Month, *, now: datetime) -> Statement:
    """The month's usage by project, model and key, in three queries."""
    projects = {project.public_id: project for project in organization.projects.all()}
    rows: list[Any] = list(
        _sums_of(organization, projects=projects)
        .filter(bucket_at__gte=month.start, bucket_at__lt=month.end)
        .values("project_id", "model", "source", "key_id")
        .annotate(**Charges.sums())
    )
    keys = [made_with(row["key_id"], row["source"]) for row in rows]
    names = key_names(set(keys), sights=[Sight(project) for project in projects.values()])
    lines = [
        Line(projects[row["project_id"]], row["model"] or _("No model named"), key, names[key], Charges.read(row))
        for row, key in zip(rows, keys, strict=True)
    ]
    lines.sort(key=lambda line: (line.project.display_name, line.model, line.key.label, line.key_id))
    return Statement(organization, month, now >= month.end, tuple(lines))


def _sums_of(organization: Organization, *, projects: Iterable[str] | None = None) -> "QuerySet[UsageRollup15Min]":
    # By project, as the sums' index has them.
    ids = organization.projects.values_list("public_id", flat=True) if projects is None else projects
    return UsageRollup15Min.objects.of_projects(ids).filter(organization_id=organization.public_id)


def _sums(charges: Iterable[tuple[Of, Charges]]) -> dict[Of, Charges]:
    sums: dict[Of, Charges] = defaultdict(Charges)
    for of, part in charges:
        sums[of] += part
    return sums

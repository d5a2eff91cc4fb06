"""What is left of what a cohort allows each participant in a month, as the ledger has it seconds after each call."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum
from django.utils import timezone

from accounts.models import Cohort, Project, ProjectMembership, User
from accounts.roles import ProjectRole
from apikeys.models import ApiKey
from usage.models import UsageRollup15Min
from usage.periods import Period, periods_at


@dataclass(frozen=True, slots=True)
class Allowance:
    """What somebody used of a cohort this month, with all their keys and in the playground together.

    Without a budget nothing runs out: `left_nano` is None then.
    """

    cohort: Cohort
    used_nano: int
    renews_at: datetime

    @property
    def limit_nano(self) -> int | None:
        return self.cohort.monthly_budget_nano

    @property
    def left_nano(self) -> int | None:
        return None if self.limit_nano is None else max(0, self.limit_nano - self.used_nano)

    @property
    def is_used_up(self) -> bool:
        return self.left_nano == 0

    @property
    def ends_at(self) -> datetime | None:
        """When every key of the cohort stops."""
        return self.cohort.project.ends_at

    @property
    def is_renewed(self) -> bool:
        """Whether another month begins before the end."""
        return self.ends_at is None or self.ends_at > self.renews_at


def allowance_of(user: User, project: Project) -> Allowance | None:
    """What the user has in the project; None for whom no cohort's allowance binds there. One query for most people."""
    cohort = Cohort.objects.allowance_of(user, project)
    if cohort is None:
        return None
    cohort.project = project
    month = _month_of(project)
    return Allowance(cohort, _used(project, [user], month)[user.public_id], month.ends_at)


def allowances_of(cohort: Cohort, places: Sequence[ProjectMembership]) -> list[Allowance | None]:
    """The same for people of a roster, in two queries however many they are; None for those who run the cohort."""
    month = _month_of(cohort.project)
    used = _used(cohort.project, [place.membership.user for place in places], month)
    return [
        Allowance(cohort, used[place.membership.user.public_id], month.ends_at)
        if place.role == ProjectRole.PARTICIPANT
        else None
        for place in places
    ]


def _month_of(project: Project) -> Period:
    return periods_at(timezone.now(), project.organization.time_zone).month


def _used(project: Project, people: Collection[User], month: Period) -> dict[str, int]:
    """Nano-dollars by the id of the person, zero for who used nothing."""
    used = {person.public_id: 0 for person in people}
    makers = ApiKey.objects.made_by(list(used)).filter(project=project).makers()
    rows = UsageRollup15Min.objects.of_projects([project.public_id]).of_people(used, keys=makers)
    for row in rows.since(month.starts_at).values("user_id", "key_id").annotate(cost=Sum("cost_nano")):
        used[makers.get(row["key_id"]) or row["user_id"]] += int(row["cost"])
    return used

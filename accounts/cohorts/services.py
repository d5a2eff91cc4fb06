"""What people do with cohorts: a course, a hackathon."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.audit import record
from accounts.errors import RefusedError
from accounts.invitations.links import create_join_link
from accounts.models import Cohort, JoinLink, Organization, Project, User
from accounts.projects.services import change_project, create_project
from accounts.roles import ProjectRole, Role
from accounts.signals import limits_changed, project_changed
from common.limits import ALERTS, LIMITS


@transaction.atomic
def create_cohort(
    *,
    organization: Organization,
    name: str,
    ends_at: datetime,
    most_joins: int,
    limits: Mapping[str, Any],
    by: User,
) -> Cohort:
    """A closed project with a join link, whose participants may use as much as `limits` says, until `ends_at`."""
    project = create_project(organization=organization, name=name, is_open=False, ends_at=ends_at, by=by)
    link = create_join_link(
        organization=organization,
        name=name,
        role=Role.GUEST,
        project=project,
        project_role=ProjectRole.PARTICIPANT,
        most_joins=most_joins,
        ends_at=None,
        by=by,
    )
    cohort = Cohort.objects.create(project=project, join_link=link, created_by=by, **limits)
    record(
        "cohort.created",
        by=by,
        target=cohort,
        organization=organization,
        label=name,
        after={"project": project.public_id, **_allowance(cohort)},
    )
    return cohort


@transaction.atomic
def change_cohort(
    *, cohort: Cohort, name: str, ends_at: datetime, most_joins: int, limits: Mapping[str, Any], by: User
) -> None:
    """Save the settings of a cohort. A later end brings its keys back; the allowance holds for everybody in it.

    Raises RefusedError when there would be fewer places than people who came.
    """
    project = change_project(project=cohort.project, name=name, is_open=False, ends_at=ends_at, by=by)
    link = JoinLink.objects.select_for_update(of=("self",)).get(pk=cohort.join_link_id)
    if most_joins < link.join_count:
        raise RefusedError(
            _("%(count)s people came already. There cannot be fewer places.") % {"count": link.join_count},
            code="fewer_places_than_people",
        )
    held = Cohort.objects.get(pk=cohort.pk)
    before = {"most_joins": link.most_joins, **_allowance(held)}
    link.name, link.most_joins = name, most_joins
    link.save(update_fields=["name", "most_joins"])
    for limit in LIMITS:
        setattr(held, limit, limits.get(limit))
    held.alert_percents = limits.get(ALERTS, held.alert_percents)
    after = {"most_joins": most_joins, **_allowance(held)}
    if before != after:
        held.save(update_fields=[*LIMITS, ALERTS])
        record(
            "cohort.changed",
            by=by,
            target=held,
            organization=project.organization,
            label=name,
            before=before,
            after=after,
        )
        project_changed.send(sender=Project, project=project)
        limits_changed.send(sender=Cohort, limited=held)


@transaction.atomic
def close_cohort(*, cohort: Cohort, by: User) -> None:
    """End a cohort now: nobody joins it any more and none of its keys works, until its end is moved."""
    project = cohort.project
    if project.is_live:
        change_project(project=project, name=project.name, is_open=False, ends_at=timezone.now(), by=by)


def _allowance(cohort: Cohort) -> dict[str, Any]:
    return {limit: getattr(cohort, limit) for limit in (*LIMITS, ALERTS)}

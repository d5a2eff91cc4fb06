"""Setting what an organization, a project or a member may use."""

from collections.abc import Mapping
from typing import Any

from django.db import models, transaction

from accounts.audit import record
from accounts.models import Membership, Organization, Project, User
from accounts.signals import limits_changed, time_zone_changing
from common.edits import check_unchanged
from common.limits import ALERTS, Limited

Changes = Mapping[str, Any]


@transaction.atomic
def change_organization_limits(
    *, organization: Organization, changes: Changes, by: User, shown: Changes | None = None
) -> None:
    """Set limits for all of an organization together, and `time_zone`, in which its days begin.

    Raises ChangedMeanwhileError as `check_unchanged` does, and RefusedError for a time zone that its people may not
    change to at this time of day.
    """
    if "time_zone" in changes and not by.is_staff:
        time_zone_changing.send(sender=Organization, organization=organization, time_zone=changes["time_zone"])
    change_limits(
        organization,
        changes,
        shown=shown,
        action="organization.limits_changed",
        target=organization,
        organization=organization,
        label=organization.name,
        by=by,
    )


def change_project_limits(*, project: Project, changes: Changes, by: User, shown: Changes | None = None) -> None:
    """Set limits for a project. Raises ChangedMeanwhileError as `check_unchanged` does."""
    change_limits(
        project,
        changes,
        shown=shown,
        action="project.limits_changed",
        target=project,
        organization=project.organization,
        label=project.name,
        by=by,
    )


def change_member_limits(*, membership: Membership, changes: Changes, by: User, shown: Changes | None = None) -> None:
    """Set limits for a member, over all projects of the organization together.

    Raises ChangedMeanwhileError as `check_unchanged` does.
    """
    change_limits(
        membership,
        changes,
        shown=shown,
        action="member.limits_changed",
        target=membership.user,
        organization=membership.organization,
        by=by,
    )


@transaction.atomic
def change_limits(
    limited: Limited,
    changes: Changes,
    *,
    shown: Changes | None,
    action: str,
    target: models.Model,
    organization: Organization | None = None,
    label: str = "",
    by: User,
) -> None:
    """Set limits of whatever has some, and record it as `action` on `target`; calls feel it at once.

    Raises ChangedMeanwhileError as `check_unchanged` does.
    """
    # Under the lock: what somebody else changes at the same time must not be set back.
    locked = type(limited)._default_manager.select_for_update(of=("self",)).get(pk=limited.pk)
    now = {name: getattr(locked, name) for name in changes}
    check_unchanged(changes, shown=shown, now=now)
    after = {name: value for name, value in changes.items() if value != now[name]}
    if not after:
        return
    for row in (locked, limited):
        for name, value in after.items():
            setattr(row, name, value)
    locked.save(update_fields=list(after))
    before = {name: now[name] for name in after}
    record(action, by=by, target=target, organization=organization, label=label, before=before, after=after)
    if after.keys() - {ALERTS}:
        limits_changed.send(sender=type(limited), limited=locked)

"""What staff do with plans, and what puts an organization on one."""

from collections.abc import Mapping
from typing import Any, cast

import psycopg
from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from accounts.audit import record
from accounts.errors import RefusedError
from accounts.models import Organization, Plan, PlanChange, User
from accounts.signals import limits_changed
from common.edits import check_unchanged, plain

Changes = Mapping[str, Any]

IS_DEFAULT = _("New organizations begin on it. Choose another plan for them first.")
NAME_TAKEN = _("There is a plan of this name already. Choose another name.")


@transaction.atomic
def make_plan(*, changes: Changes, by: User) -> Plan:
    """A new plan with these values; nobody is on it yet. Raises RefusedError as `_save` does."""
    plan = Plan(**changes)
    _leave_one_default(plan, by)
    _save(plan)
    after = {name: plain(value) for name, value in changes.items()}
    PlanChange.objects.create(plan=plan, by=by, after=after)
    record("plan.created", by=by, target=plan, label=plan.name, after=after)
    return plan


@transaction.atomic
def change_plan(*, plan: Plan, changes: Changes, by: User, shown: Changes | None = None) -> None:
    """Change what a plan is and allows, for all organizations on it; calls feel it at once.

    Raises ChangedMeanwhileError as `check_unchanged` does, and RefusedError as `_save`.
    """
    # Under the lock: what somebody else changes at the same time must not be set back. All of them, in one order: the
    # plan that is for new organizations may change along.
    plans = Plan.objects.select_for_update(no_key=True).order_by("pk")
    locked = next(one for one in plans if one.pk == plan.pk)
    now = {name: getattr(locked, name) for name in changes}
    check_unchanged(changes, shown=shown, now=now)
    after = {name: value for name, value in changes.items() if plain(value) != plain(now[name])}
    if not after:
        return
    for name, value in after.items():
        setattr(locked, name, value)
    _leave_one_default(locked, by)
    _save(locked, list(after))
    before, after = ({name: plain(values[name]) for name in after} for values in (now, after))
    PlanChange.objects.create(plan=locked, by=by, before=before, after=after)
    record("plan.changed", by=by, target=locked, label=locked.name, before=before, after=after)
    limits_changed.send(sender=Plan, limited=locked)


def _leave_one_default(plan: Plan, by: User) -> None:
    if plan.is_default:
        for other in Plan.objects.filter(is_default=True).exclude(pk=plan.pk):
            change_plan(plan=other, changes={"is_default": False}, by=by)


def _save(plan: Plan, names: list[str] | None = None) -> None:
    """Raises RefusedError where what somebody else did at the same time stands against it; `code` says what."""
    try:
        with transaction.atomic():
            plan.save(update_fields=names)
    except IntegrityError as error:
        match cast("psycopg.Error", error.__cause__).diag.constraint_name:
            case "no_archived_plan_is_default" if names and "is_default" in names:
                words = _("Somebody else archived this plan at this moment. New organizations cannot begin on it.")
                code = "plan_archived"
            case "no_archived_plan_is_default":
                words, code = IS_DEFAULT, "plan_is_default"
            case "one_default_plan":
                words = _(
                    "Somebody else chose a plan for new organizations at this moment. Save again to choose this one."
                )
                code = "plan_default_taken"
            case _:
                words, code = NAME_TAKEN, "plan_name_taken"
        raise RefusedError(words, code=code) from error


@transaction.atomic
def assign_plan(*, organization: Organization, plan: Plan | None, by: User) -> None:
    """Put an organization on any plan that is not archived, or on none; calls feel it at once.

    Raises RefusedError for an archived plan.
    """
    held = _hold(organization, plan)
    if plan is not None and plan.is_archived and plan.pk != held.plan_id:
        raise RefusedError(_("This plan is archived: nobody is put on it any more."), code="plan_archived")
    _put(held, plan, by)


@transaction.atomic
def choose_plan(*, organization: Organization, plan: Plan, by: User, mark: str | None = None) -> None:
    """Put an organization on a plan that is open to all, as its own people wish; calls feel it at once.

    `mark` is that of the plan they were shown. Raises RefusedError when the plan was changed since or is not open, and
    when the organization is on one that is not: what staff granted or imposed is not for its people to leave.
    """
    held = _hold(organization, plan)
    if not held.may_choose_plan:
        raise RefusedError(
            _("Whoever runs this portal chose the plan of this organization. Ask them for another one."),
            code="plan_assigned",
        )
    if not plan.is_open or plan.is_archived:
        raise RefusedError(_("This plan is no longer open to all. Choose another one."), code="plan_not_open")
    if mark is not None and mark != plan.mark:
        raise RefusedError(
            _("The plan was changed while you looked at it. Here it is as it is now."), code="plan_changed"
        )
    _put(held, plan, by)


def begin_on_default_plan(organization: Organization) -> None:
    """Put a new organization, which nobody uses yet, on the plan that is for new ones, if there is one."""
    plan = Plan.objects.default()
    if plan is not None:
        organization.plan = plan
        organization.save(update_fields=["plan"])
        PlanChange.objects.create(organization=organization, before={"plan": None}, after={"plan": plan.name})


def _hold(organization: Organization, plan: Plan | None) -> Organization:
    """The organization as it is now, certain until the transaction ends, and so is the plan."""
    held = Organization.objects.select_for_update(of=("self",)).select_related("plan").get(pk=organization.pk)
    if plan is not None:
        # Whoever changes the plan waits until it is given.
        plan.refresh_from_db(from_queryset=Plan.objects.select_for_update(no_key=True))
    return held


def _put(organization: Organization, plan: Plan | None, by: User) -> None:
    before, organization.plan = organization.plan, plan
    if plan == before:
        return
    organization.save(update_fields=["plan"])
    names = {"before": {"plan": before and before.name}, "after": {"plan": plan and plan.name}}
    PlanChange.objects.create(organization=organization, by=by, **names)
    record("organization.plan_changed", by=by, target=organization, organization=organization,
           label=organization.name, **names)  # fmt: skip
    limits_changed.send(sender=Organization, limited=organization)

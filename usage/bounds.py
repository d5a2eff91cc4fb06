"""The limits that count what a usage page is about, with what is used of each: when will calls be refused?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from accounts.access import rights_in_organization
from accounts.models import Membership, Project, User
from accounts.roles import Right
from apikeys.models import ApiKey
from catalog.models import HostedModel
from usage.meters import Meter, meters_of, meters_of_model, meters_of_plan, renewing
from usage.policies import KEY, MEMBER, MODEL, ORGANIZATION, PLAN, PROJECT
from usage.reports import EVERYTHING, Narrowing
from usage.sight import Sights


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of one scope that begin anew by the day, the week or the month. `whose` they are is for people."""

    scope: str
    scope_id: str
    whose: str | Promise
    meters: Sequence[Meter]


def bounds_of(*, sights: Sights, narrowing: Narrowing, is_organization_wide: bool, reader: User) -> list[Bounds]:
    """Those of the project, of its organization with its plan, and of the reader there; narrowed to one key, member or
    model, those of that. What `reader` may not know the use of is left out, and scopes without limits."""
    found = _all_bounds(sights, narrowing, is_organization_wide, reader)
    return [bounds for bounds in found if bounds.meters]


def nearest(bounds: Sequence[Bounds]) -> tuple[Bounds, Meter] | None:
    """The limit of which the greatest part is used, with whose it is; None of none."""
    every = [(scope, meter) for scope in bounds for meter in scope.meters]
    return max(every, key=lambda one: one[1].share, default=None)


def _all_bounds(sights: Sights, narrowing: Narrowing, is_organization_wide: bool, reader: User) -> Iterator[Bounds]:
    project, organization = sights[0].project, sights[0].project.organization
    sees_all = Right.SEE_USAGE in rights_in_organization(reader, organization)
    if narrowing == EVERYTHING:
        if not is_organization_wide and all(sight.own is None for sight in sights):
            yield Bounds(PROJECT, project.public_id, _("This project"), renewing(meters_of(project)))
        if sees_all:
            meters = renewing(meters_of(organization))
            yield Bounds(ORGANIZATION, organization.public_id, organization.display_name, meters)
            if organization.plan is not None:
                whose = format_lazy(_("Plan {name}"), name=organization.plan.name)
                yield Bounds(PLAN, organization.public_id, whose, renewing(meters_of_plan(organization)))
        yield from _of_member(project, reader.public_id, _("You in this organization"))
    elif narrowing == Narrowing(key=narrowing.key):
        for key in _keys(narrowing.key or "", sights):
            whose = format_lazy(_("Key {name}"), name=key.name)
            yield Bounds(KEY, key.public_id, whose, renewing(meters_of(key)))
    elif narrowing == Narrowing(member=narrowing.member):
        if sees_all or narrowing.member == reader.public_id:
            yield from _of_member(project, narrowing.member or "", None)
    elif narrowing == Narrowing(model=narrowing.model) and sees_all:
        for model in HostedModel.objects.filter(public_name=narrowing.model):
            whose = format_lazy(_("Model {name}"), name=model.public_name)
            yield Bounds(MODEL, model.public_name, whose, renewing(meters_of_model(model, organization)))


def _of_member(project: Project, user_id: str, whose: Promise | None) -> Iterator[Bounds]:
    found = Membership.objects.filter(organization=project.organization, user__public_id=user_id)
    for membership in found.select_related("user", "organization"):
        meters = renewing(meters_of(membership))
        yield Bounds(MEMBER, user_id, whose or membership.user.display_name, meters)


def _keys(key_id: str, sights: Sights) -> list[ApiKey]:
    """The key of this id, if its calls are seen."""
    seen = [sight.project for sight in sights if sight.own is None or key_id in sight.own[1]]
    return list(ApiKey.objects.filter(public_id=key_id, project__in=seen).select_related("project__organization"))

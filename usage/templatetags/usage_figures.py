"""How figures of usage read: rounded for the eye, the exact value for whoever points at it."""

import json
from collections.abc import Sequence
from typing import Any

from django import template
from django.utils import formats
from django.utils.translation import gettext as _

from accounts.models import Cohort, Organization, Project, ProjectMembership, User
from common.limits import Limited
from common.money import display_dollars, exact_dollars
from usage.allowances import Allowance, allowance_of, allowances_of
from usage.meters import Meter, meters_of, meters_of_plan, renewing
from usage.models import CreditGrant

register = template.Library()
NO_BREAK = "\N{NO-BREAK SPACE}"


register.filter("money", display_dollars)
register.filter("exact_money", exact_dollars)


@register.filter
def duration(milliseconds: float | None) -> str:
    """A time a person can feel: 320 ms, 1.24 s, 2 min 5 s. A dash when nothing was measured."""
    if milliseconds is None:
        return "–"
    return _duration(milliseconds).replace(" ", NO_BREAK)


def _duration(milliseconds: float) -> str:
    if milliseconds < 999.5:
        return _("%(count)s ms") % {"count": _number(round(milliseconds))}
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return _("%(count)s s") % {"count": _number(seconds, 2 if seconds < 9.995 else 1)}
    minutes, rest = divmod(round(seconds), 60)
    return _("%(minutes)s min %(seconds)s s") % {"minutes": minutes, "seconds": rest}


@register.filter
def share(part: float | None) -> str:
    """A share of one as a percentage. What is there never reads as 0 %, what is not all never as 100 %."""
    if part is None:
        return "–"
    percent = part * 100
    if 0 < percent < 0.1:
        return "<0.1%"
    if 99.9 < percent < 100:
        return ">99.9%"
    return f"{_number(percent, 0 if 10 <= percent <= 99 or percent in {0, 100} else 1)}%"


@register.filter
def as_json(value: object) -> str:
    """The value as JSON text, which the template then escapes like any other."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@register.simple_tag
def change(now: float | None, before: float | None) -> str:
    """How a figure moved against the period before; empty where there is nothing to compare it with."""
    if not before or now is None:
        return ""
    ratio = now / before - 1
    if abs(ratio) < 0.005:
        return _("unchanged")
    if ratio >= 9.995:
        return f"×{_number(now / before)}"
    return f"{'+' if ratio > 0 else '−'}{_number(abs(ratio) * 100)}%"


@register.simple_tag
def change_of_share(now: float | None, before: float | None) -> str:
    """How a share moved, in points: a percentage of a percentage reads as one."""
    if before is None or now is None:
        return ""
    points = round((now - before) * 100, 1)
    if not points:
        return _("unchanged")
    return _("%(points)s points") % {"points": f"{'+' if points > 0 else '−'}{_number(abs(points), 1)}"}


@register.inclusion_tag("usage/_allowance.html")
def own_allowance(user: User, project: Project) -> dict[str, Allowance | None]:
    """What is left to a participant of a cohort; nothing for everybody else."""
    return {"allowance": allowance_of(user, project)}


@register.simple_tag
def limits_of(limited: Limited) -> list[Meter]:
    """The limits of an organization, a project, a member or a key, with what is used of those that begin anew."""
    return meters_of(limited)


@register.inclusion_tag("usage/_used.html")
def used_of_limits(limited: Limited) -> dict[str, Any]:
    """What is used of the limits that begin anew; nothing where there is none."""
    return {
        "meters": renewing(meters_of(limited)),
        "is_after_credits": isinstance(limited, Organization)
        and limited.limits.has_budget
        and CreditGrant.objects.of(limited).exists(),
    }


@register.inclusion_tag("usage/_used.html")
def used_of_plan(organization: Organization) -> dict[str, Any]:
    """The same of the plan that an organization is on."""
    return {"meters": renewing(meters_of_plan(organization))}


@register.simple_tag
def with_allowances(
    cohort: Cohort, places: Sequence[ProjectMembership]
) -> list[tuple[ProjectMembership, Allowance | None]]:
    """The places of a roster, each with what its holder used; None beside those who run the cohort."""
    return list(zip(places, allowances_of(cohort, places), strict=True))


def _number(value: float, places: int = 0) -> str:
    # Rounded first: the format alone would cut digits off.
    return formats.number_format(round(value, places), places)

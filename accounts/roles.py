"""Who may do what: a role gives rights, and nothing else in the program asks for a role.

A person has one role in an organization, and may have one in each of its projects. In a project counts the larger of
what the organization's role gives there and what the project's gives.
"""

from enum import StrEnum

from django.db import models
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """A place in an organization."""

    OWNER = "owner", _("Owner")
    ADMIN = "admin", _("Admin")
    MEMBER = "member", _("Member")
    VIEWER = "viewer", _("Viewer")
    BILLING = "billing", _("Billing")
    GUEST = "guest", _("Guest")


class ProjectRole(models.TextChoices):
    """A place in one project."""

    ADMIN = "admin", _("Admin")
    MEMBER = "member", _("Member")
    VIEWER = "viewer", _("Viewer")
    PARTICIPANT = "participant", _("Participant")


class Right(StrEnum):
    """What may be done, in an organization or in a project."""

    SEE = "see"
    """Know that it exists, and its name."""
    SEE_PEOPLE = "see_people"
    SEE_KEYS = "see_keys"
    """See everybody's keys; one's own are always to be seen."""
    MAKE_KEYS = "make_keys"
    """Make keys, change and revoke one's own, and run prompts in the playground."""
    MANAGE_KEYS = "manage_keys"
    """Change and revoke everybody's keys, and those of service accounts."""
    SEE_USAGE = "see_usage"
    """See everybody's usage and cost; one's own is always to be seen."""
    MANAGE_PROJECT = "manage_project"
    MANAGE_PEOPLE = "manage_people"
    MANAGE_ORGANIZATION = "manage_organization"
    SEE_AUDIT = "see_audit"
    OWN = "own"
    """Make owners, hand the organization over, close it."""


Rights = frozenset[Right]

NONE: Rights = frozenset()
_SEES = frozenset({Right.SEE, Right.SEE_PEOPLE})

IN_ORGANIZATION: dict[Role, Rights] = {
    Role.OWNER: frozenset(Right),
    Role.ADMIN: frozenset(Right) - {Right.OWN},
    Role.MEMBER: _SEES,
    Role.VIEWER: _SEES,
    Role.BILLING: frozenset({Right.SEE, Right.SEE_USAGE}),
    Role.GUEST: frozenset({Right.SEE}),
}
"""What a role allows in the organization as a whole."""

IN_PROJECT: dict[ProjectRole, Rights] = {
    ProjectRole.ADMIN: _SEES
    | {Right.SEE_KEYS, Right.MAKE_KEYS, Right.MANAGE_KEYS, Right.SEE_USAGE, Right.MANAGE_PROJECT},
    ProjectRole.MEMBER: _SEES | {Right.SEE_KEYS, Right.MAKE_KEYS, Right.SEE_USAGE},
    ProjectRole.VIEWER: _SEES | {Right.SEE_KEYS, Right.SEE_USAGE},
    ProjectRole.PARTICIPANT: frozenset({Right.SEE, Right.MAKE_KEYS}),
}
"""What a role in a project allows there."""

IN_EVERY_PROJECT: dict[Role, Rights] = {
    Role.OWNER: IN_PROJECT[ProjectRole.ADMIN],
    Role.ADMIN: IN_PROJECT[ProjectRole.ADMIN],
    Role.BILLING: IN_ORGANIZATION[Role.BILLING],
}
"""What a role in the organization allows in each of its projects, closed ones too."""

IN_OPEN_PROJECTS: dict[Role, Rights] = {
    Role.MEMBER: IN_PROJECT[ProjectRole.MEMBER],
    Role.VIEWER: IN_PROJECT[ProjectRole.VIEWER],
}
"""What a role in the organization allows in those projects that are open to all of it."""

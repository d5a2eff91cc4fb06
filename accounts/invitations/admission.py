"""Coming into an organization, by whatever way: what an invitation and a join link have in common."""

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.audit import record
from accounts.models import Membership, Organization, Project, ProjectMembership, User
from accounts.roles import ProjectRole, Role
from accounts.signals import member_joined, rights_changed

MOST_OF_A_NAME = 60


@transaction.atomic
def open_to_others(*, organization: Organization, by: User) -> Organization:
    """The organization as it is once others are asked into it, its row held: not personal any more.

    One that bears the name it was made with gets one that tells others whose it is.
    """
    held = Organization.objects.select_for_update().get(pk=organization.pk)
    if not held.is_personal:
        return held
    before, was_untouched, held.is_personal = held.name, held.is_untouched, False
    if was_untouched:
        held.name = _("%(name)s’s organization") % {"name": by.display_name[:MOST_OF_A_NAME]}
    held.save(update_fields=["name", "is_personal"])
    if was_untouched:
        record(
            "organization.renamed",
            by=by,
            target=held,
            organization=held,
            label=held.name,
            before={"name": before},
            after={"name": held.name},
        )
    return held


def admit(
    *,
    organization: Organization,
    user: User,
    role: Role,
    projects: Iterable[Project],
    project_role: ProjectRole | None,
    way: dict[str, Any],
) -> bool:
    """Give the user what they were offered; False when they had all of it.

    Who is a member keeps their role, unless they were a guest, and the places they have. Call it inside a transaction
    that holds the row of the organization. `way` says in the audit log how they came.
    """
    membership, joined = Membership.objects.get_or_create(organization=organization, user=user, defaults={"role": role})
    gained: dict[str, Any] = {"role": role.value} if joined else {}
    if membership.role == Role.GUEST and role != Role.GUEST:
        membership.role = role
        membership.save(update_fields=["role"])
        gained["role"] = role.value
    for project in projects:
        place, placed = ProjectMembership.objects.get_or_create(
            project=project, membership=membership, defaults={"role": project_role or ProjectRole.MEMBER}
        )
        if placed:
            gained.setdefault("projects", []).append(project.public_id)
            gained["project_role"] = place.role
    if not gained:
        return False
    record(
        "member.joined" if joined else "member.gained",
        by=user,
        target=user,
        organization=organization,
        after={**gained, **way},
    )
    if joined:
        member_joined.send(sender=Membership, membership=membership)
    rights_changed.send(sender=Membership, user=user, organization=organization)
    return True

"""Coming into an organization, by whatever way: what an invitation and a join link have in common."""

from collections.abc import Iterable
from typing import Any

from accounts.audit import record
from accounts.models import Membership, Organization, Project, ProjectMembership, User
from accounts.roles import ProjectRole, Role
from accounts.signals import member_joined, rights_changed


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

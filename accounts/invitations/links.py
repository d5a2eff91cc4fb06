"""What people do with join links."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.audit import record
from accounts.errors import RefusedError
from accounts.invitations.admission import admit, open_to_others
from accounts.models import JoinLink, JoinState, Membership, Organization, Project, Removal, User
from accounts.roles import ProjectRole, Role
from common.tokens import new_token, token_hash

ROLES = (Role.MEMBER, Role.VIEWER, Role.GUEST)
"""What a link may make of whoever holds it: nobody who manages anything."""
ROLE_CHOICES = [(role.value, role.label) for role in ROLES]
PROJECT_ROLES = (ProjectRole.MEMBER, ProjectRole.VIEWER, ProjectRole.PARTICIPANT)
"""What a link may make of them in its project."""
PROJECT_ROLE_CHOICES = [(role.value, role.label) for role in PROJECT_ROLES]

MOST_PLACES = 10_000

REFUSALS = {
    JoinState.FULL: _("All places of this link are taken. Ask whoever gave it to you for more."),
    JoinState.ENDED: _("The time of this link is over. Ask whoever gave it to you for a new one."),
    JoinState.OFF: _("This link was switched off. Ask whoever gave it to you for a new one."),
}


@transaction.atomic
def create_join_link(
    *,
    organization: Organization,
    name: str,
    role: Role,
    most_joins: int,
    ends_at: datetime | None,
    by: User,
    project: Project | None = None,
    project_role: ProjectRole | None = None,
) -> JoinLink:
    """A link by which `most_joins` people come in until `ends_at`; None means as long as its project goes on.

    Raises RefusedError for a role that manages anything.
    """
    if role not in ROLES or (project_role and project_role not in PROJECT_ROLES):
        raise RefusedError(
            _("A link lets in nobody who manages something. Choose another role, or invite them by mail."),
            code="role_not_for_links",
        )
    organization = open_to_others(organization=organization, by=by)
    token = new_token()
    link = JoinLink.objects.create(
        organization=organization,
        name=name,
        role=role,
        most_joins=most_joins,
        ends_at=ends_at,
        project=project,
        project_role=project_role or "",
        token=token,
        token_hash=token_hash(token),
        created_by=by,
    )
    record(
        "join_link.created",
        by=by,
        target=link,
        organization=organization,
        label=name,
        after={
            "role": role.value,
            "most_joins": most_joins,
            "ends_at": ends_at.isoformat() if ends_at else None,
            "project": project.public_id if project else None,
            "project_role": project_role.value if project_role else None,
        },
    )
    return link


@transaction.atomic
def switch_join_link(*, link: JoinLink, is_on: bool, by: User) -> None:
    """Switch a link off, or on again. Who came in by it stays."""
    held = JoinLink.objects.select_for_update(of=("self",)).select_related("organization").get(pk=link.pk)
    if (held.switched_off_at is None) == is_on:
        return
    held.switched_off_at = None if is_on else timezone.now()
    held.save(update_fields=["switched_off_at"])
    action = "join_link.switched_on" if is_on else "join_link.switched_off"
    record(action, by=by, target=held, organization=held.organization, label=held.name)


def link_behind(token: str) -> JoinLink | None:
    """The link with this token; None when there is none."""
    links = JoinLink.objects.select_related("organization", "project")
    return links.filter(token_hash=token_hash(token)).first()


@transaction.atomic
def join(*, link: JoinLink, user: User) -> bool:
    """Come in by a link; False for somebody who has all it gives already, who takes none of its places.

    Somebody who left and comes back has theirs still.

    Raises RefusedError when the link is full, over or switched off, and for somebody who was removed.
    """
    # Held before the link: everybody who comes into the organization, by whatever way, waits here.
    organization = Organization.objects.select_for_update().get(pk=link.organization_id)
    held = JoinLink.objects.select_for_update(of=("self",)).select_related("project").get(pk=link.pk)
    has_place = held.came.filter(pk=user.pk).exists()
    if held.state != JoinState.OPEN and not (held.state == JoinState.FULL and has_place):
        if _is_in(user, held):
            return False
        raise RefusedError(REFUSALS[held.state], code=f"join_link_{held.state}")
    if Removal.objects.filter(organization=organization, user=user).exists():
        raise RefusedError(
            _(
                "This link lets nobody back in who was removed, or who left while limits were set for them. Ask those "
                "who manage the organization for an invitation."
            ),
            code="removed",
        )
    came = admit(
        organization=organization,
        user=user,
        role=Role(held.role),
        projects=[held.project] if held.project else [],
        # A link can be older than the rule of what it may give.
        project_role=ProjectRole(held.project_role) if held.project_role in PROJECT_ROLES else ProjectRole.MEMBER,
        way={"join_link": held.public_id},
    )
    if came and not has_place:
        held.came.add(user)
        held.join_count += 1
        held.save(update_fields=["join_count"])
    return came


def _is_in(user: User, link: JoinLink) -> bool:
    places = Membership.objects.filter(organization_id=link.organization_id, user=user)
    if link.project_id:
        places = places.filter(projects__project=link.project_id)
    return places.exists()

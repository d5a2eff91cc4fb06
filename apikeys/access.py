"""Who may fetch which key."""

from django.http import Http404

from accounts.models import Membership, Project, Role, User
from apikeys.models import ApiKey


def key_for(user: User, public_id: str) -> ApiKey:
    """A key of an organization the user belongs to; 404 for strangers."""
    key = (
        ApiKey.objects.select_related("project__organization", "created_by", "revoked_by")
        .filter(public_id=public_id, project__organization__memberships__user=user)
        .first()
    )
    if key is None:
        raise Http404
    return key


def may_change_keys(user: User, project: Project) -> bool:
    """Whether the user may make and revoke the project's keys; a viewer only reads."""
    memberships = Membership.objects.filter(organization=project.organization, user=user)
    return memberships.exclude(role=Role.VIEWER).exists()

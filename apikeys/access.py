"""Who may fetch which key."""

from django.core.exceptions import PermissionDenied
from django.http import Http404

from accounts.access import rights_in
from accounts.models import User
from accounts.roles import Right, Rights
from apikeys.models import ApiKey


def may_change(user: User, key: ApiKey, rights: Rights) -> bool:
    """Whether a user with these rights in the key's project may change and revoke it: their own, or everybody's."""
    if Right.MANAGE_KEYS in rights:
        return True
    return Right.MAKE_KEYS in rights and key.created_by_id == user.pk and not key.service_account_id


def key_for(user: User, public_id: str, *, to_change: bool = False) -> ApiKey:
    """A key that the user may see: their own, or any of a project whose keys they see.

    Raises Http404 for anybody else, and PermissionDenied when it is to be changed by someone who only sees it.
    """
    key = (
        ApiKey.objects.select_related("project__organization", "created_by", "revoked_by")
        .filter(public_id=public_id)
        .first()
    )
    if key is None:
        raise Http404
    rights = rights_in(user, key.project)
    is_own = Right.SEE in rights and key.created_by_id == user.pk
    if not is_own and Right.SEE_KEYS not in rights:
        raise Http404
    if to_change and not may_change(user, key, rights):
        raise PermissionDenied
    return key

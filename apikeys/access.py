"""Who may fetch which key."""

from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils.translation import gettext as _

from accounts.access import rights_in
from accounts.models import Project, User
from accounts.roles import NONE, Right, Rights
from apikeys.models import ApiKey, KeyKind, KeyPolicy, KeySecret


def may_change(user: User, key: ApiKey, rights: Rights) -> bool:
    """Whether a user with these rights in the key's project may change and revoke it: their own, or everybody's."""
    if key.kind == KeyKind.MANAGEMENT:
        return key.owner_id == user.pk
    if Right.MANAGE_KEYS in rights:
        return True
    return Right.MAKE_KEYS in rights and key.created_by_id == user.pk and not key.service_account_id


def may_see(user: User, key: ApiKey, rights: Rights) -> bool:
    """Whether a user with these rights in the key's project sees it: their own, or any where they see the keys."""
    if key.kind == KeyKind.MANAGEMENT:
        return key.owner_id == user.pk
    return Right.SEE_KEYS in rights or (Right.SEE in rights and key.created_by_id == user.pk)


def key_for(user: User, public_id: str, *, to_change: bool = False) -> ApiKey:
    """A key that the user may see: their own, or any of a project whose keys they see.

    Raises Http404 for anybody else, and PermissionDenied when it is to be changed by someone who only sees it.
    """
    related = ("project__organization__key_policy", "created_by", "revoked_by", "owner", "service_account")
    key = ApiKey.objects.with_leaks().with_standing().select_related(*related).filter(public_id=public_id).first()
    if key is None:
        raise Http404
    rights = rights_in(user, key.project) if key.project else NONE
    if not may_see(user, key, rights):
        raise Http404
    if to_change and not may_change(user, key, rights):
        raise PermissionDenied
    return key


def secret_for(user: User, key_id: str, secret_id: str) -> KeySecret:
    """A secret of a key that the user may change. Raises as `key_for` does."""
    key = key_for(user, key_id, to_change=True)
    secret = key.secrets.filter(public_id=secret_id).first()
    if secret is None:
        raise Http404
    return secret


def require_maker(project: Project, rights: Rights) -> KeyPolicy:
    """The policy for the project's keys, when it lets somebody with these rights there make keys.

    Raises PermissionDenied otherwise, saying why.
    """
    policy = KeyPolicy.objects.of(project.organization)
    if not project.is_live:
        raise PermissionDenied(_("This project has ended, and no key of it works. An owner can move its last day."))
    if Right.MAKE_KEYS not in rights:
        raise PermissionDenied(_("Your role in this project does not let you make keys. An owner can change it."))
    if not policy.lets_make(rights):
        raise PermissionDenied(
            _("In %(organization)s only admins make keys. Ask one of them for a key.")
            % {"organization": project.organization}
        )
    return policy

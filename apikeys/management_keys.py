"""What a management key opens: its owner's rights, for a program. `/api/` and `/v1/organization` ask here alike."""

from enum import StrEnum

from accounts.duties import page_before
from accounts.models import User
from apikeys.models import ApiKey, KeyKind, KeySecret
from apikeys.services import mark_used
from apikeys.verification import read
from common.context import current_origin
from common.networks import contains


class Refusal(StrEnum):
    """Why a key does not open what was asked for, by a word that stays the same when texts change."""

    UNKNOWN = "invalid_api_key"
    WRONG_KIND = "wrong_kind_of_key"
    ADDRESS = "ip_not_authorized"
    READ_ONLY = "read_only_key"
    SECOND_FACTOR = "second_factor_required"
    TERMS = "terms_not_accepted"


class RefusedKeyError(Exception):
    """A key does not open what was asked for."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


def open_with(presented: str, *, writes: bool) -> tuple[User, ApiKey]:
    """The owner of the management key `presented` and the key, which is noted as used from where this request comes.

    Raises RefusedKeyError; one that only reads is refused to whoever `writes`.
    """
    secret = _secret(presented)
    key, origin = secret.key, current_origin.get()
    if key.allowed_networks and not contains(tuple(key.allowed_networks), origin.address):
        raise RefusedKeyError(Refusal.ADDRESS)
    if key.is_read_only and writes:
        raise RefusedKeyError(Refusal.READ_ONLY)
    # Each key belongs to somebody, which is what made it one for management.
    assert key.owner is not None  # noqa: S101
    if page := page_before(key.owner):
        raise RefusedKeyError(Refusal.TERMS if page == "accounts:terms" else Refusal.SECOND_FACTOR)
    mark_used(secret=secret, address=origin.address, agent=origin.user_agent)
    return key.owner, key


def _secret(presented: str) -> KeySecret:
    kind, digests = read(presented)
    if kind not in (None, KeyKind.MANAGEMENT):
        raise RefusedKeyError(Refusal.WRONG_KIND)
    # What cannot be a key is refused without looking anything up.
    found = KeySecret.objects.for_management().filter(digest__in=digests).first() if kind else None
    if found is None:
        raise RefusedKeyError(Refusal.UNKNOWN)
    return found

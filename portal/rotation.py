"""Which of the older secrets are still needed, and bringing what is stored under the newest.

What is encrypted can be encrypted anew. What is hashed cannot: only the holder of an API key could say what to hash,
so a pepper is needed until the last key made with it is rotated or ends. What is signed runs out by itself.
"""

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core import signing
from django.utils import timezone

from apikeys.models import KeySecret
from apikeys.verification import current_pepper_version, pepper_versions
from common import sealed


@dataclass(frozen=True, slots=True)
class Needed:
    """What hangs on which secret. `peppers` has each version that is set, or that a working key was made with."""

    columns: list[sealed.Tally]
    peppers: dict[int, int]
    old_sessions: int

    @property
    def lost_values(self) -> int:
        """Values that none of FIELD_ENCRYPTION_KEYS decrypts."""
        return sum(column.lost for column in self.columns)

    @property
    def old_values(self) -> int:
        """Values that another than the first of FIELD_ENCRYPTION_KEYS decrypts."""
        return sum(column.old for column in self.columns)

    @property
    def old_peppers(self) -> dict[int, int]:
        """Older versions of the pepper that keys still hang on, and how many secrets."""
        return {version: count for version, count in self.peppers.items() if count and version in _older_peppers()}

    @property
    def lost_peppers(self) -> dict[int, int]:
        """Versions that are not set although keys were made with them: these keys do not work."""
        return {version: count for version, count in self.peppers.items() if version not in pepper_versions()}


def needed() -> Needed:
    """Look, and change nothing."""
    return Needed([sealed.tally(column) for column in sealed.columns()], _peppers(), _old_sessions())


def encrypt_anew() -> Needed:
    """Bring every encrypted value under the first key, beside whatever else is going on; what hangs on what then."""
    for column in sealed.columns():
        sealed.renew(column)
    return needed()


def _older_peppers() -> list[int]:
    return [version for version in pepper_versions() if version != current_pepper_version()]


def _peppers() -> dict[int, int]:
    return dict(sorted({**dict.fromkeys(pepper_versions(), 0), **KeySecret.objects.by_pepper()}.items()))


def _old_sessions() -> int:
    """Signed-in browsers that have not been here since SECRET_KEY was changed.

    Django signs a session anew when one comes. It does not for visitors, whom it costs no sign-in.
    """
    if not settings.SECRET_KEY_FALLBACKS:
        return 0
    newest = signing.TimestampSigner(salt=SessionStore().key_salt, fallback_keys=[])
    kept = Session.objects.filter(expire_date__gt=timezone.now()).values_list("session_data", flat=True)
    return sum(not _signed(newest, data) and SESSION_KEY in SessionStore().decode(data) for data in kept.iterator())


def _signed(signer: signing.TimestampSigner, data: str) -> bool:
    try:
        signer.unsign(data)
    except signing.BadSignature:
        return False
    return True

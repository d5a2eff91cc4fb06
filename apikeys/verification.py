"""The format of a key, and what is kept of it.

A key is `<prefix><kind>_`, 30 random base-62 characters (178 bits) and 6 of checksum: CRC-32 of the 30, in base 62, as
GitHub and npm do. The underscore lets a double click select the whole key; the checksum refuses typing errors and
random scans before anything is looked up. The kind is hashed along: a key with another kind written before it is
another key. A fast keyed hash is enough for a secret that cannot be guessed.
"""

import hmac
import re
import secrets
import zlib
from functools import cache
from typing import NamedTuple

from django.conf import settings

from common.ids import ALPHABET, base62

RANDOM_LENGTH = 30
CHECKSUM_LENGTH = 6
KIND_PARTS = {"project": "", "service": "svc", "management": "adm"}
"""What stands between the installation's prefix and the underscore, by kind of key."""
_KINDS = {part: kind for kind, part in KIND_PARTS.items()}


@cache
def _pattern(prefix: str) -> re.Pattern[str]:
    parts = "|".join(KIND_PARTS.values())
    return re.compile(
        rf"{re.escape(prefix)}({parts})_([0-9A-Za-z]{{{RANDOM_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
    )


@cache
def _peppers(configured: tuple[str, ...]) -> dict[int, hmac.HMAC]:
    """By version, newest first. Of each a hash that began with it, to be copied: to begin anew takes twice as long."""
    pairs = (pepper.partition(":") for pepper in configured)
    peppers = {int(version): hmac.new(value.encode(), digestmod="sha256") for version, _colon, value in pairs}
    return dict(sorted(peppers.items(), reverse=True))


def _checksum(payload: str) -> str:
    return base62(zlib.crc32(payload.encode()), width=CHECKSUM_LENGTH)


def new_secret(kind: str = "project") -> str:
    """A new key of a kind."""
    payload = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return f"{prefix_of(kind)}_{payload}{_checksum(payload)}"


def prefix_of(kind: str) -> str:
    """What every key of a kind begins with, before the underscore."""
    return f"{settings.API_KEY_PREFIX}{KIND_PARTS[kind]}"


def is_well_formed(secret: str) -> bool:
    """Whether `secret` could be a key of this installation: prefix, length and checksum. Looks nothing up."""
    return kind_of(secret) is not None


def kind_of(secret: str) -> str | None:
    """The kind of key that `secret` says it is; None when it cannot be a key of this installation."""
    match = _pattern(settings.API_KEY_PREFIX).fullmatch(secret)
    return _KINDS[match[1]] if match is not None and _checksum(match[2]) == match[3] else None


class Presented(NamedTuple):
    """A text that is presented as a key: the kind that it says it is, and its digests. Neither if it cannot be one."""

    kind: str | None
    digests: list[str]


def find_keys(text: str) -> list[str]:
    """Every well-formed key in `text`, in order: for refusing to publish one."""
    candidates = (match[0] for match in _pattern(settings.API_KEY_PREFIX).finditer(text))
    return [candidate for candidate in candidates if is_well_formed(candidate)]


def current_pepper_version() -> int:
    return max(pepper_versions())


def pepper_versions() -> list[int]:
    """The versions of KEY_PEPPERS, in order."""
    return sorted(_peppers(tuple(settings.KEY_PEPPERS)))


def digest_of(secret: str, *, pepper_version: int | None = None) -> str | None:
    """HMAC-SHA256 of `secret` under a pepper (the newest when None), in hex; None when it cannot be a key of ours."""
    if not is_well_formed(secret):
        return None
    peppers = _peppers(tuple(settings.KEY_PEPPERS))
    pepper = peppers[max(peppers) if pepper_version is None else pepper_version]
    return _digest(pepper, secret)


def digests_of(secret: str) -> list[str]:
    """The digest under every pepper, newest first: a key minted before a rotation is found under the older one. None at
    all of what cannot be a key of ours.
    """
    return read(secret).digests


def read(secret: str) -> Presented:
    """What there is to know of `secret` without looking anything up."""
    kind = kind_of(secret)
    if kind is None:
        return Presented(None, [])
    peppers = _peppers(tuple(settings.KEY_PEPPERS)).values()
    return Presented(kind, [_digest(pepper, secret) for pepper in peppers])


def _digest(pepper: hmac.HMAC, secret: str) -> str:
    begun = pepper.copy()
    begun.update(secret.encode())
    return begun.hexdigest()

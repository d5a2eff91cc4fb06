"""What GitHub's secret scanning finds in public repositories and sends to the portal.

Having a key is the proof that one may report it, from wherever. The signature is asked for because the answer says
which of the findings were keys of ours, which nobody else is told, and because GitHub reports as often as it likes.
"""

import base64
import time
from dataclasses import dataclass, field

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings

from apikeys.leaks import Way, report_leak
from apikeys.models import ApiKey
from common.http import NoAnswerError, run
from common.outbound import ForbiddenAddressError, GuardedClient

DEADLINE_SECONDS = 5.0
MOST_KEY_BYTES = 64 * 1024
# An unknown name has the keys fetched anew, as after GitHub changed them: no more often than this, whoever asks.
FETCH_AGAIN_SECONDS = 60.0
MOST_FINDINGS = 1000
# What comes of reading JSON that is not what it should be.
MISSHAPEN = (ValueError, LookupError, TypeError, AttributeError)


class KeysUnknownError(Exception):
    """GitHub's public keys cannot be had at the moment."""


class UnreadableReportError(Exception):
    """It is not the list that GitHub sends."""


@dataclass(slots=True)
class _Held:
    """Public keys by their names, as fetched from `url` last."""

    url: str = ""
    asked_at: float = float("-inf")
    is_current: bool = False
    keys: dict[str, EllipticCurvePublicKey] = field(default_factory=dict)


_held = _Held()


def is_signed_by_github(body: bytes, *, key_name: str, signature: str) -> bool:
    """Whether the body is signed with one of GitHub's keys. Raises KeysUnknownError when those cannot be fetched."""
    key = _public_key(key_name)
    if key is None:
        return False
    try:
        key.verify(base64.b64decode(signature, validate=True), body, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _public_key(name: str) -> EllipticCurvePublicKey | None:
    global _held
    url = settings.GITHUB_SECRET_SCANNING_KEYS_URL
    if _held.url != url:
        _held = _Held(url)
    if name not in _held.keys and time.monotonic() - _held.asked_at >= FETCH_AGAIN_SECONDS:
        _held.asked_at, _held.is_current = time.monotonic(), False
        _held.keys, _held.is_current = _fetched(url), True
    if name not in _held.keys and not _held.is_current:
        raise KeysUnknownError
    return _held.keys.get(name)


def _fetched(url: str) -> dict[str, EllipticCurvePublicKey]:
    async def ask() -> str:
        async with GuardedClient(deadline_seconds=DEADLINE_SECONDS) as client:
            answer = await client.get(url, most_bytes=MOST_KEY_BYTES)
        return answer.text if answer.status == 200 else ""

    try:
        listed = orjson.loads(run(ask()))["public_keys"]
        keys = {one["key_identifier"]: load_pem_public_key(one["key"].encode()) for one in listed}
    except (NoAnswerError, ForbiddenAddressError, UnsupportedAlgorithm, *MISSHAPEN) as error:
        raise KeysUnknownError from error
    return {name: key for name, key in keys.items() if isinstance(key, EllipticCurvePublicKey)}


def take_findings(body: bytes) -> list[dict[str, str]]:
    """Report each key in what GitHub found, and say of each finding whether it was a key of ours, as GitHub reads it.

    Raises UnreadableReportError.
    """
    try:
        listed = orjson.loads(body)
        findings = [(one["token"], one["type"], one.get("url") or one.get("source") or "") for one in listed]
    except MISSHAPEN as error:
        raise UnreadableReportError from error
    texts = [text for finding in findings for text in finding]
    if not isinstance(listed, list) or len(listed) > MOST_FINDINGS or not all(_is_text(text) for text in texts):
        raise UnreadableReportError
    feedback = []
    for token, kind, place in findings:
        is_ours = ApiKey.objects.behind(token).exists()
        if is_ours:
            report_leak(text=token, found_at=place, way=Way.GITHUB)
        label = "true_positive" if is_ours else "false_positive"
        feedback.append({"token_raw": token, "token_type": kind, "label": label})
    return feedback


def _is_text(value: object) -> bool:
    # PostgreSQL keeps no NUL.
    return isinstance(value, str) and "\0" not in value

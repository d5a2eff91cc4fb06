"""Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks, spec 1.0): secrets and signatures.

What is signed is `<message id>.<Unix seconds>.<body>`; a receiver checks it with any library of that standard.
"""

import base64
import hashlib
import hmac
import secrets

SECRET_PREFIX = "whsec_"  # noqa: S105  the beginning of every secret is none
SECRET_BYTES = 32


def new_secret() -> str:
    """A new signing secret, `whsec_` and 32 random bytes in base 64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 in base 64."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(signing_secrets: list[str], *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a message. While a secret is being changed, both sign."""
    signed = [signature(secret, message_id=message_id, timestamp=timestamp, body=body) for secret in signing_secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signed),
    }

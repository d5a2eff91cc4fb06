"""Public identifiers: opaque, prefixed, sortable by time."""

import os
import time
import uuid

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# By two digits at a time: every call has some of them made and checked.
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]


def base62(number: int, *, width: int) -> str:
    """`number` in base 62, left-padded with `0` to `width` characters."""
    pairs = []
    while number:
        number, pair = divmod(number, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    pairs.reverse()
    return "".join(pairs).lstrip("0").rjust(width, "0")


def uuid7(*, milliseconds: int | None = None) -> uuid.UUID:
    """A version 7 UUID (RFC 9562): 48 bits of Unix milliseconds (now when None), then random bits."""
    return uuid.UUID(int=_uuid7(milliseconds))


def uuid7_hex() -> str:
    """A new version 7 UUID as 32 hexadecimal digits, at half the cost of the object."""
    return f"{_uuid7():032x}"


def _uuid7(milliseconds: int | None = None) -> int:
    if milliseconds is None:
        milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    return value & ~(0x3 << 62) | 0x2 << 62


def new_id(prefix: str, *, joint: str = "_") -> str:
    """A new public identifier such as `proj_02xK…`: 22 base-62 characters after the prefix, oldest sorts first."""
    return f"{prefix}{joint}{base62(_uuid7(), width=22)}"


def request_id() -> str:
    """A new request identifier, `req_…`; the same one stands in the response, the logs and the usage event."""
    return new_id("req")

"""How often one address may ask for something that is open to everybody."""

import ipaddress

import structlog
from django.core.cache import cache
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)


def is_too_often(what: str, *, address: str, most: int, seconds: int) -> bool:
    """Count one more time; whether it is more than `most` within `seconds` from the first one on.

    With the counter away nobody is refused: what is behind it does not rest on it.
    """
    counter = f"often:{what}:{_place(address)}"
    try:
        cache.add(counter, 0, seconds)
        return int(cache.incr(counter)) > most
    except ValueError:  # it ran out between the two
        return False
    except RedisError as error:
        log.warning("throttle_without_counter", what=what, error=str(error))
        return False


def _place(address: str) -> str:
    """Whom an address stands for: of IPv6, a household has 2⁶⁴."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)

"""Where a request comes from, behind as many proxies as the operator says there are."""

from collections.abc import Callable
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from common.context import Origin, current_origin
from common.networks import address_in

MOST_AGENT_CHARACTERS = 200
# With a zone; without, IPv6 takes 45 at most.
MOST_ADDRESS_CHARACTERS = 64


def client_address(peer: str, forwarded_for: str) -> str:
    """The caller's IP address, IPv4-mapped ones as IPv4; empty when there is none to be had.

    `forwarded_for` is the X-Forwarded-For header. Each trusted proxy (TRUSTED_PROXY_COUNT) appended the address it saw;
    what stands before that is the caller's own claim.
    """
    proxies: int = settings.ALLAUTH_TRUSTED_PROXY_COUNT
    if not proxies or not forwarded_for:
        return _canonical(peer)
    hops = forwarded_for.split(",")
    candidate = hops[-proxies].strip() if proxies <= len(hops) else peer
    # Whatever else a caller writes there would be remembered, thousands of times as much as a header may hold.
    return _canonical(candidate) if len(candidate) <= MOST_ADDRESS_CHARACTERS else ""


@lru_cache(maxsize=10_000)
def _canonical(address: str) -> str:
    try:
        return str(address_in(address))
    except ValueError:
        return ""


class OriginMiddleware:
    """Keeps where a page's request came from, for whatever records it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        address = client_address(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
        agent = request.headers.get("User-Agent", "")[:MOST_AGENT_CHARACTERS]
        token = current_origin.set(Origin(address=address, user_agent=agent))
        try:
            return self.get_response(request)
        finally:
            current_origin.reset(token)

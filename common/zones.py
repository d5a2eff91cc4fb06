"""Whose day it is: the reader's time zone, which their browser tells in the cookie `tz`."""

import zoneinfo
from collections.abc import Callable
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

COOKIE = "tz"
UTC = zoneinfo.ZoneInfo("UTC")


@cache
def _known() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


@cache
def zone_names() -> tuple[str, ...]:
    """The zones to choose from, UTC first."""
    return (
        "UTC",
        *sorted(name for name in _known() if "/" in name and not name.startswith(("Etc/", "posix", "right"))),
    )


def zone_named(name: str) -> zoneinfo.ZoneInfo | None:
    """The zone of that name; None when there is none, whatever was put in the cookie."""
    # Looked up in the list first: ZoneInfo opens files by this name and fails in many ways on a hostile one.
    return zoneinfo.ZoneInfo(name) if name in _known() else None


class ReaderTimeZoneMiddleware:
    """Makes the reader's zone the current one, so that every day on a page is theirs. UTC until it is known."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(zone_named(request.COOKIES.get(COOKIE, "")) or UTC):
            return self.get_response(request)

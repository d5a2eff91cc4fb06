"""The reader's time zone, whatever stands in the cookie."""

import pytest
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from common.zones import ReaderTimeZoneMiddleware, zone_named


def zone_during(cookie: str | None) -> str:
    seen: list[str] = []

    def page(request: HttpRequest) -> HttpResponse:
        seen.append(timezone.get_current_timezone_name())
        return HttpResponse()

    request = HttpRequest()
    if cookie is not None:
        request.COOKIES["tz"] = cookie
    ReaderTimeZoneMiddleware(page)(request)
    return seen[0]


def test_it_works() -> None:
    assert zone_during("Asia/Kathmandu") == "Asia/Kathmandu"
    assert timezone.get_current_timezone_name() == "UTC"


@pytest.mark.parametrize("nonsense", [None, "", "Mars/Phobos", "America", "../../etc/passwd", "/etc/localtime", "a\0b"])
def test_what_is_no_zone_is_utc(nonsense: str | None) -> None:
    assert zone_during(nonsense) == "UTC"


def test_the_names_that_browsers_use_are_known() -> None:
    for name in ("Asia/Calcutta", "Asia/Kolkata", "Asia/Shanghai", "America/Sao_Paulo", "Etc/GMT+5", "Europe/Kyiv"):
        assert zone_named(name) is not None

"""A request that no page can mean ends before a page sees it."""

import pytest
from django.test import Client


@pytest.mark.django_db
def test_it_works(client: Client) -> None:
    response = client.get("/models/")
    assert response.status_code == 200
    assert "microphone=()" in response["Permissions-Policy"]


@pytest.mark.parametrize(
    "path", ["/models/a%00b/", "/forum/questions/%00/", "/forum/?tag=%00", "/forum/tags/?q=a%00", "/api/runs/%00/"]
)
def test_a_nul_in_the_address(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 400
    assert response["X-Content-Type-Options"] == "nosniff"


def test_a_nul_in_a_cookie(client: Client) -> None:
    # A cookie may spell any character in octal, between quotes.
    assert client.get("/", HTTP_COOKIE=r'sessionid="\000aaaaaaaaaaaaaaaa"').status_code == 400


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/", "/i18n/setlang/"])
def test_pages_of_packages_are_asked_as_a_browser_does(client: Client, path: str, method: str) -> None:
    response = client.generic(method, path)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, POST")

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.core import mail
from django.test import Client

from accounts.models import User
from tests.conftest import PASSWORD

URL = "/accounts/login/"


@pytest.fixture
def form(ada: User) -> dict[str, str]:
    EmailAddress.objects.create(user=ada, email=ada.email, verified=True, primary=True)
    ada.set_password(PASSWORD)
    ada.save()
    return {"login": ada.email, "password": PASSWORD}


def test_it_works(client: Client, form: dict[str, str]) -> None:
    assert client.post(URL, form).headers["Location"] == "/quickstart/"


def test_it_leads_back_to_where_one_was_going(client: Client, form: dict[str, str]) -> None:
    assert client.post(URL, {**form, "next": "/keys/"}).headers["Location"] == "/keys/"
    assert Client().post(URL, {**form, "next": "https://evil.example/"}).headers["Location"] == "/quickstart/"


def test_guessing_is_stopped(client: Client, form: dict[str, str]) -> None:
    for _attempt in range(10):
        client.post(URL, {**form, "password": "wrong"})
    assert client.post(URL, form).status_code != 302


def test_a_wrong_password_and_an_unknown_address_read_the_same(client: Client, form: dict[str, str]) -> None:
    wrong = client.post(URL, {**form, "password": "wrong"}).context["form"].errors
    unknown = client.post(URL, {"login": "nobody@example.com", "password": "wrong"}).context["form"].errors
    assert wrong == unknown


def test_a_reset_mail_leads_to_a_new_password(client: Client, form: dict[str, str]) -> None:
    client.post("/accounts/password/reset/", {"email": form["login"]})
    link = next(word for word in str(mail.outbox[0].body).split() if "/password/reset/key/" in word)
    page = client.get(link.removeprefix("http://testserver"), follow=True)
    new = "an even longer password"
    client.post(page.request["PATH_INFO"], {"password1": new, "password2": new})
    assert Client().post(URL, {**form, "password": new}).status_code == 302


@pytest.mark.django_db
def test_providers_appear_once_they_are_configured(client: Client, settings: LazySettings) -> None:
    assert "/accounts/github/login/" not in client.get(URL).content.decode()
    settings.SOCIALACCOUNT_PROVIDERS = {
        "github": {"APPS": [{"client_id": "a", "secret": "b"}]},
        "google": {"APPS": [{"client_id": "a", "secret": "b"}]},
        "openid_connect": {
            "APPS": [
                {
                    "provider_id": "oidc",
                    "name": "University",
                    "client_id": "a",
                    "secret": "b",
                    "settings": {"server_url": "https://id.example.org"},
                }
            ]
        },
    }
    page = client.get(URL).content.decode()
    for path in ("/accounts/github/login/", "/accounts/google/login/", "/accounts/oidc/oidc/login/"):
        assert path in page

"""The addresses of an account, and which of them it may sign in with."""

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.test import Client

from accounts.models import User

URL = "/accounts/email/"


def signs_in_with(user: User) -> str:
    user.refresh_from_db()
    return user.email


def test_it_works(ada: User, ada_client: Client) -> None:
    EmailAddress.objects.create(user=ada, email="ada@work.example", verified=True)
    assert ada_client.get(URL).status_code == 200
    ada_client.post(URL, {"email": "ada@work.example", "action_primary": ""})
    assert signs_in_with(ada) == "ada@work.example"


def test_an_address_is_confirmed_before_it_signs_in(ada: User, ada_client: Client) -> None:
    ada_client.post(URL, {"email": "boss@corp.example", "action_add": ""})
    page = ada_client.post(URL, {"email": "boss@corp.example", "action_primary": ""}, follow=True).content.decode()
    assert "Confirm this address first" in page
    assert signs_in_with(ada) == "ada@example.com"


@pytest.mark.parametrize("verification", ["optional", "mandatory"])
@pytest.mark.parametrize("verified", [True, False])
def test_the_address_of_another_account(
    ada: User, ada_client: Client, cyd: User, settings: LazySettings, verification: str, verified: bool
) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = verification
    ada_client.post(URL, {"email": cyd.email, "action_add": ""})
    EmailAddress.objects.get_or_create(user=ada, email=cyd.email, defaults={"verified": verified})
    for spelt in (cyd.email, cyd.email.upper()):
        response = ada_client.post(URL, {"email": spelt, "action_primary": ""})
        assert response.status_code == 302
        assert signs_in_with(ada) == "ada@example.com"


def test_signed_out(client: Client) -> None:
    assert client.get(URL)["location"].startswith("/accounts/login/")


@pytest.mark.django_db
@pytest.mark.parametrize("provider", ["github", "google"])
@pytest.mark.parametrize("end", ["login/", "login/callback/"])
def test_an_identity_provider_that_is_not_set_up_has_no_page(client: Client, provider: str, end: str) -> None:
    assert client.get(f"/accounts/{provider}/{end}").status_code == 404
    assert client.post(f"/accounts/{provider}/{end}").status_code == 404

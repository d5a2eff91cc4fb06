import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from accounts.models import User

URL = "/accounts/2fa/webauthn/"

pytestmark = pytest.mark.django_db


def security_key(user: User, *, name: str, is_passkey: bool) -> Authenticator:
    credential = {"clientExtensionResults": {"credProps": {"rk": is_passkey}}}
    return Authenticator.objects.create(
        user=user, type=Authenticator.Type.WEBAUTHN, data={"name": name, "credential": credential}
    )


def test_it_works(ada: User, ada_client: Client) -> None:
    laptop = security_key(ada, name="Laptop", is_passkey=True)
    security_key(ada, name="Key ring", is_passkey=False)
    page = ada_client.get(URL).content.decode()
    assert "Laptop" in page
    assert "Passkey" in page
    assert "Key ring" in page
    assert f"/accounts/2fa/webauthn/keys/{laptop.pk}/remove/" in page


def test_without_one_it_says_what_a_key_is_for(ada_client: Client) -> None:
    page = ada_client.get(URL).content.decode()
    assert "No passkey or security key yet" in page
    assert "/accounts/2fa/webauthn/add/" in page


def test_keys_of_others_are_not_listed(ada: User, cyd_client: Client) -> None:
    security_key(ada, name="Laptop", is_passkey=True)
    assert "Laptop" not in cyd_client.get(URL).content.decode()

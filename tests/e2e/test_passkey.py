"""A passkey in a real browser: made, and used while somebody guesses at the password."""

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.test import Client
from playwright.sync_api import Page, expect

from accounts.models import User
from tests.accounts.test_guessing import flood
from tests.conftest import PASSWORD

pytestmark = pytest.mark.e2e


def test_the_owner_gets_in_while_their_password_is_guessed_at(live_server: Any, page: Page, ada: User) -> None:
    EmailAddress.objects.create(user=ada, email=ada.email, verified=True, primary=True)
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    device.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )
    page.goto(f"{live_server.url}/accounts/login/")
    page.get_by_label("E-mail").fill(ada.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.goto(f"{live_server.url}/accounts/2fa/webauthn/add/")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_label("Name").fill("Laptop")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Add").click()
    page.wait_for_url("**/recovery-codes/")
    assert Authenticator.objects.get(type=Authenticator.Type.WEBAUTHN).wrap().is_passwordless

    page.context.clear_cookies()
    UserSession.objects.all().delete()
    flood(ada)
    for _attempt in range(6):
        Client().post("/accounts/login/", {"login": ada.email, "password": "a wrong guess"})
    # Neither here nor anywhere does the right password do now.
    assert Client().post("/accounts/login/", {"login": ada.email, "password": PASSWORD}).status_code == 200
    page.goto(f"{live_server.url}/accounts/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page).to_have_url(f"{live_server.url}/quickstart/")

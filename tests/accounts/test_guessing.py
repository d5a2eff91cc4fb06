"""Guessing at passwords: bounded, and never at the cost of the account's owner."""

from contextlib import suppress

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.exceptions import ValidationError
from django.test import Client, RequestFactory

from accounts.adapter import AccountAdapter
from accounts.models import User
from tests.accounts.test_sessions import sign_in
from tests.conftest import PASSWORD

URL = "/accounts/login/"
# Each of the two authentication backends looks at a password once.
LOOKS_PER_TRY = 2
checked: list[str] = []


class CountingHasher(MD5PasswordHasher):
    """Tells how often a password was really looked at."""

    def encode(self, password: str, salt: str) -> str:
        checked.append(password)
        return str(super().encode(password, salt))


@pytest.fixture(autouse=True)
def counted(quick_passwords: None, settings: object) -> None:
    settings.PASSWORD_HASHERS = ["tests.accounts.test_guessing.CountingHasher"]  # type: ignore[attr-defined]
    checked.clear()


def tries() -> int:
    """How many guesses were compared with the password."""
    return checked.count("a wrong guess") // LOOKS_PER_TRY


def guess(user: User, address: str, claim: str = "203.0.113.1") -> None:
    client = Client(REMOTE_ADDR=address, headers={"x-forwarded-for": claim})
    client.post(URL, {"login": user.email, "password": "a wrong guess"})


def test_a_thousand_tries_from_fifty_addresses_are_bounded(ada: User) -> None:
    # What the sign-in form calls; a thousand pages would only be slower.
    for attempt in range(1000):
        request = RequestFactory().post(
            URL, REMOTE_ADDR=f"198.51.100.{attempt % 50}", HTTP_X_FORWARDED_FOR=f"203.0.113.{attempt % 250}"
        )
        with suppress(ValidationError):
            AccountAdapter(request).authenticate(request, email=ada.email, password="a wrong guess")
    assert tries() == 20


def test_an_owner_who_is_signed_in_elsewhere_at_the_address_gets_in_all_the_same(ada: User) -> None:
    sign_in(ada, address="192.0.2.7")
    for attempt in range(25):
        guess(ada, f"198.51.100.{attempt}")
    sign_in(ada, address="192.0.2.7")


def test_a_stranger_shuts_out_their_own_address_only(ada: User) -> None:
    for _attempt in range(8):
        guess(ada, "198.51.100.1")
    assert tries() == 5
    sign_in(ada, address="192.0.2.7")


def test_a_claimed_address_is_not_believed(ada: User) -> None:
    for attempt in range(8):
        guess(ada, "198.51.100.1", claim=f"192.0.2.{attempt}")
    assert tries() == 5


def test_a_right_password_costs_nothing(ada: User) -> None:
    for _attempt in range(8):
        Client(REMOTE_ADDR="198.51.100.1").post(URL, {"login": ada.email, "password": PASSWORD})
    sign_in(ada, address="198.51.100.1")

"""Guessing at passwords: bounded, and never at the cost of the account's owner."""

from contextlib import suppress
from functools import partial

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.exceptions import ValidationError
from django.test import Client, RequestFactory

from accounts.adapter import AccountAdapter
from accounts.models import User
from tests.accounts.test_sessions import sign_in
from tests.conftest import PASSWORD
from tests.races import at_once

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


def flood(user: User, *, count: int = 1000, proxies: int = 0) -> None:
    """Tries from 50 addresses that claim to be 250 others, at what the sign-in page calls: pages would be slow."""
    for attempt in range(count):
        real, claimed = f"198.51.100.{attempt % 50}", f"203.0.113.{attempt % 250}"
        # A proxy adds the address that it sees to what the client wrote.
        came = (real, claimed) if proxies == 0 else ("10.0.0.1", f"{claimed}, {real}")
        request = RequestFactory().post(URL, REMOTE_ADDR=came[0], HTTP_X_FORWARDED_FOR=came[1])
        with suppress(ValidationError):
            AccountAdapter(request).authenticate(request, email=user.email, password="a wrong guess")


@pytest.mark.parametrize("proxies", [0, 1])
def test_a_thousand_tries_from_fifty_addresses_are_bounded(ada: User, settings: LazySettings, proxies: int) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    flood(ada, proxies=proxies)
    assert tries() == 20


@pytest.mark.django_db(transaction=True)
def test_at_the_same_moment_they_are_as_few(ada: User) -> None:
    at_once(*[partial(flood, ada, count=50)] * 8)
    assert tries() <= 20


def test_however_the_address_is_written_it_is_one_account(ada: User) -> None:
    for attempt in range(60):
        spelling = (ada.email, ada.email.upper(), f" {ada.email.title()} ")[attempt % 3]
        client = Client(REMOTE_ADDR=f"198.51.100.{attempt}")
        client.post(URL, {"login": spelling, "password": "a wrong guess"})
    assert tries() == 20


def test_an_owner_comes_in_by_another_of_their_addresses_all_the_same(ada: User) -> None:
    EmailAddress.objects.create(user=ada, email=ada.email, verified=True, primary=True)
    other = EmailAddress.objects.create(user=ada, email="countess@example.com", verified=True)
    sign_in(ada, address="192.0.2.7")
    for attempt in range(25):
        client = Client(REMOTE_ADDR=f"198.51.100.{attempt}")
        client.post(URL, {"login": other.email, "password": "a wrong guess"})
    form = {"login": other.email, "password": PASSWORD}
    assert Client(REMOTE_ADDR="198.51.100.99").post(URL, form).status_code == 200
    assert Client(REMOTE_ADDR="192.0.2.7").post(URL, form).status_code == 302


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


def test_an_address_that_somebody_merely_claims_opens_no_way_around(ada: User, cyd: User) -> None:
    EmailAddress.objects.create(user=cyd, email=ada.email, verified=False)
    for attempt in range(25):
        desk = f"198.51.100.{attempt}"
        sign_in(cyd, address=desk)
        guess(ada, desk)
    form = {"login": ada.email, "password": PASSWORD}
    assert Client(REMOTE_ADDR="198.51.100.0").post(URL, form).status_code == 200

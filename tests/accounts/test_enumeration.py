"""Nobody learns from the portal whether an address has an account, as it is set in production."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent, AuditPerson, Invitation, Organization, User
from tests.accounts import test_guessing
from tests.conftest import PASSWORD

UNKNOWN = "nobody@example.com"
TOKENS = re.compile(r'(name="csrfmiddlewaretoken" value="|nonce="|csrf-token" content=")[^"]*|"X-CSRFToken": "[^"]*"')
WRITES = re.compile(r'(INSERT INTO|UPDATE|DELETE FROM) "\w+"')
# Each is a look-up by an index: together they take less than the network differs by.
MOST_READS_APART = 8
# They differ from answer to answer, whoever asks.
VARYING = {"x-request-id", "content-security-policy", "set-cookie", "date", "expires", "content-length"}


@pytest.fixture(autouse=True)
def production(settings: LazySettings, quick_passwords: None) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
    settings.EMAIL_URL = "smtp://mail.example.com"
    settings.PASSWORD_HASHERS = ["tests.accounts.test_guessing.CountingHasher"]


@pytest.fixture(params=[True, False], ids=["verified", "unverified"])
def known(request: pytest.FixtureRequest, ada: User) -> str:
    EmailAddress.objects.create(user=ada, email=ada.email, verified=request.param, primary=True)
    return ada.email


def told(client: Client, path: str, form: dict[str, str], address: str) -> list[tuple[Any, ...]]:
    """All that a stranger can see of the answer, and of the pages it leads to."""
    seen = []
    answer = client.post(path, form, follow=True)
    for hop, status in answer.redirect_chain:
        seen.append((status, re.sub(r"[0-9A-Za-z]{20,}", "…", hop)))
    text = TOKENS.sub("", answer.content.decode()).replace(address, "ADDRESS")
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in VARYING}
    cookies = sorted(client.cookies)
    return [*seen, (answer.status_code, text, headers, cookies)]


def hashes_during(path: str, form: dict[str, str]) -> int:
    test_guessing.checked.clear()
    Client().post(path, form)
    return len(test_guessing.checked)


def sign_up(address: str) -> dict[str, str]:
    return {"email": address, "password1": "a brand new password", "password2": "a brand new password"}


def test_sign_up(known: str) -> None:
    path = "/accounts/signup/"
    strangers, adas = (told(Client(), path, sign_up(address), address) for address in (UNKNOWN, known))
    assert strangers == adas
    # Whoever reads the mail of the address is told which it was.
    assert len(mail.outbox) == 2
    assert mail.outbox[0].subject != mail.outbox[1].subject


def test_reset(known: str) -> None:
    path = "/accounts/password/reset/"
    strangers, adas = (told(Client(), path, {"email": address}, address) for address in (UNKNOWN, known))
    assert strangers == adas
    assert len(mail.outbox) == 2


def test_sign_in(known: str) -> None:
    path = "/accounts/login/"
    wrong = "a wrong guess"
    strangers, adas = (
        told(Client(), path, {"login": address, "password": wrong}, address) for address in (UNKNOWN, known)
    )
    assert strangers == adas


def test_each_costs_as_many_hashes_either_way(known: str) -> None:
    """A password hash takes a tenth of a second: where one is left out, a clock would tell."""
    login = [
        hashes_during("/accounts/login/", {"login": address, "password": "a wrong guess"})
        for address in (UNKNOWN, known)
    ]
    assert login[0] == login[1] > 0
    signup = [hashes_during("/accounts/signup/", sign_up(address)) for address in ("new@example.com", known)]
    assert signup[0] == signup[1]
    reset = [hashes_during("/accounts/password/reset/", {"email": address}) for address in (UNKNOWN, known)]
    assert reset == [0, 0]


@dataclass(frozen=True)
class Work:
    """What a request did: rows written by table, mails, password hashes, and how many questions it asked."""

    writes: Counter[str]
    mails: int
    hashes: int
    reads: int


def work_of(ask: Callable[[], object]) -> Work:
    mail.outbox.clear()
    test_guessing.checked.clear()
    with CaptureQueriesContext(connection) as captured:
        ask()
    statements = [query["sql"] for query in captured]
    writes = Counter(match[0] for sql in statements if (match := WRITES.match(sql)))
    reads = sum(sql.startswith(("SELECT", "DECLARE")) for sql in statements)
    waiting = Invitation.objects.exclude(mail_due_at=None).count()
    Invitation.objects.all().delete()
    return Work(writes, len(mail.outbox) + waiting, len(test_guessing.checked), reads)


def test_a_clock_tells_no_more_than_the_words(known: str, sam: User, sam_client: Client) -> None:
    """The same work is done either way. How long it takes is measured by `make bench`."""
    organization = Organization.objects.for_member(sam)[0].public_id
    # Everybody who signed up is in the audit log.
    AuditPerson.objects.create(user=User.objects.get(email=known))
    pages: dict[str, Callable[[str], object]] = {
        "sign-up": lambda address: Client().post("/accounts/signup/", sign_up(address)),
        "sign-in": lambda address: Client().post("/accounts/login/", {"login": address, "password": "a wrong guess"}),
        "reset": lambda address: Client().post("/accounts/password/reset/", {"email": address}),
        "invitation": lambda address: sam_client.post(
            f"/organizations/{organization}/invitations/", {"emails": address, "role": "member"}
        ),
    }
    for page, ask in pages.items():
        ask(f"{page}-warms-up@example.com")
        Invitation.objects.all().delete()
        of_stranger, of_ada = (work_of(partial(ask, address)) for address in (f"{page}@example.com", known))
        assert of_stranger.writes == of_ada.writes, page
        assert (of_stranger.mails, of_stranger.hashes) == (of_ada.mails, of_ada.hashes), page
        assert abs(of_stranger.reads - of_ada.reads) <= MOST_READS_APART, page


def test_a_rehearsed_sign_up_leaves_nothing(known: str) -> None:
    before = [model.objects.count() for model in (User, EmailAddress, Organization, AuditEvent, AuditPerson)]
    Client().post("/accounts/signup/", sign_up(known))
    assert [model.objects.count() for model in (User, EmailAddress, Organization, AuditEvent, AuditPerson)] == before


def test_without_the_right_password_nothing_says_that_an_address_is_unverified(known: str) -> None:
    answer = Client().post("/accounts/login/", {"login": known, "password": PASSWORD + "!"})
    assert "verif" not in answer.content.decode().lower().replace("csrf", "")

"""The mails around an account: what to do, what to do if it was not you, and nothing else."""

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client

from accounts.models import User
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

NEW = "an even longer password"
SIGN_UP = {"email": "grace@example.com", "password1": PASSWORD, "password2": PASSWORD}


def only_mail() -> EmailMessage:
    (message,) = mail.outbox
    return message


def text(message: EmailMessage) -> str:
    return str(message.body)


def test_it_works(ada: User, client: Client) -> None:
    client.post("/accounts/password/reset/", {"email": ada.email})
    message = only_mail()
    assert message.subject == "Choose a new password"
    assert text(message).startswith("Someone asked for a new password for ada@example.com at Lyceum.")
    assert "http://testserver/accounts/password/reset/key/" in text(message)
    assert "If it was not you, ignore this mail" in text(message)
    assert text(message).endswith("\n\n-- \nLyceum")


def test_it_comes_in_the_language_of_the_page(ada: User, client: Client) -> None:
    client.post("/accounts/password/reset/", {"email": ada.email}, headers={"accept-language": "zh-hans"})
    assert only_mail().subject == "设置新密码"
    assert "如果不是你本人，请忽略这封邮件" in text(only_mail())


def test_an_address_without_an_account_is_told_so(client: Client) -> None:
    client.post("/accounts/password/reset/", {"email": "nobody@example.com"})
    assert only_mail().subject == "No account has this address"
    assert "http://testserver/accounts/signup/" in text(only_mail())


def test_a_link_confirms_an_address(client: Client) -> None:
    client.post("/accounts/signup/", SIGN_UP)
    assert only_mail().subject == "Confirm your e-mail address"
    assert "Follow this link to confirm grace@example.com" in text(only_mail())
    assert "http://testserver/accounts/confirm-email/" in text(only_mail())


def test_a_second_sign_up_is_told_of_the_account(ada: User, client: Client, settings: LazySettings) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
    client.post("/accounts/signup/", {**SIGN_UP, "email": ada.email})
    assert only_mail().subject == "You have an account already"
    assert "http://testserver/accounts/password/reset/" in text(only_mail())


def test_a_change_says_when_from_where_and_what_to_do(ada: User, ada_client: Client) -> None:
    EmailAddress.objects.create(user=ada, email=ada.email, verified=True, primary=True)
    change = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    ada_client.post("/accounts/password/change/", change, headers={"user-agent": "A & B's browser"})
    message = only_mail()
    assert message.subject == "Your password was changed"
    assert "From: 127.0.0.1, A & B's browser" in text(message)
    assert "(UTC)" in text(message)
    assert text(message).endswith("http://testserver/accounts/password/reset/\n\n-- \nLyceum")

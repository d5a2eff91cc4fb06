import re

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.core import mail
from django.test import Client

from accounts.models import Organization, Project, User
from accounts.roles import Role
from tests.conftest import PASSWORD

URL = "/accounts/signup/"
FORM = {"email": "grace@example.com", "password1": PASSWORD, "password2": PASSWORD}

pytestmark = pytest.mark.django_db


def test_it_works(client: Client) -> None:
    response = client.post(URL, FORM)
    user = User.objects.get(email="grace@example.com")
    assert response.headers["Location"] == "/quickstart/"
    assert client.session["_auth_user_id"] == str(user.pk)
    organization = Organization.objects.for_member(user).get()
    assert organization.is_personal
    assert organization.memberships.get().role == Role.OWNER
    assert Project.objects.for_member(user).count() == 1


def test_the_address_stays_private(client: Client) -> None:
    client.post(URL, FORM)
    assert "grace" not in str(User.objects.get())


def test_a_short_password_is_refused_and_the_address_kept_in_the_form(client: Client) -> None:
    response = client.post(URL, {**FORM, "password1": "short", "password2": "short"})
    assert "grace@example.com" in response.content.decode()
    assert not User.objects.exists()


def test_a_second_sign_up_with_an_address_makes_no_second_user(client: Client, ada: User) -> None:
    client.post(URL, {**FORM, "email": ada.email.upper()})
    assert User.objects.filter(email__iexact=ada.email).count() == 1


def test_production_asks_for_the_code_in_the_mail_first(client: Client, settings: LazySettings) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
    client.post(URL, FORM)
    assert client.get("/keys/").status_code == 302
    code = re.search(r"^[0-9A-Z-]{6,}$", str(mail.outbox[0].body), re.MULTILINE)
    assert code
    client.post("/accounts/confirm-email/", {"code": code[0]})
    assert EmailAddress.objects.get().verified
    assert client.get("/keys/").status_code == 200


def test_mail_comes_in_the_language_one_signed_up_in_until_another_is_chosen(client: Client) -> None:
    client.post(URL, FORM, headers={"Accept-Language": "zh-CN"})
    assert User.objects.get().language == "zh-hans"
    client.post("/settings/", {"name": "Grace", "language": "en"})
    assert User.objects.get().language == "en"


def test_without_a_mail_server_the_message_names_the_page_that_keeps_the_mail(
    client: Client, settings: LazySettings
) -> None:
    settings.EMAIL_URL = ""
    page = client.post(URL, FORM, follow=True).content.decode()
    assert "is kept on the Mail page" in page
    assert "on its way" not in page


def test_with_a_mail_server_the_mail_is_on_its_way(client: Client, settings: LazySettings) -> None:
    settings.EMAIL_URL = "smtp://mail.example.com"
    page = client.post(URL, FORM, follow=True).content.decode()
    assert "is on its way to grace@example.com" in page

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.core.mail import send_mail
from django.test import Client

from accounts.models import KeptMail, User
from tests.conftest import client_of

URL = "/mail/"


@pytest.fixture(autouse=True)
def no_mail_server(settings: LazySettings) -> None:
    settings.EMAIL_BACKEND = "accounts.mail.KeptMailBackend"
    settings.EMAIL_URL = ""


def test_it_works(ada: User, ada_client: Client) -> None:
    send_mail("Reset your password", "Follow http://localhost/reset", None, [ada.email])
    page = ada_client.get(URL).content.decode()
    assert "Reset your password" in page
    assert 'href="http://localhost/reset"' in page


def test_mail_to_others_is_not_shown(ada: User, cyd_client: Client) -> None:
    send_mail("Reset your password", "…", None, [ada.email])
    assert "Reset your password" not in cyd_client.get(URL).content.decode()


def test_the_next_holder_of_an_address_does_not_see_what_came_before(ada: User, ada_client: Client, cyd: User) -> None:
    old = ada.email
    send_mail("Reset your password", "…", None, [old.upper()])
    ada.email = "new@example.com"
    ada.save()
    cyd.email = old
    cyd.save()
    assert "Reset your password" not in client_of(cyd).get(URL).content.decode()
    assert "Reset your password" in ada_client.get(URL).content.decode()


def test_mail_to_an_address_that_was_never_confirmed_is_shown_to_staff_only(
    ada: User, ada_client: Client, sam_client: Client
) -> None:
    address = EmailAddress.objects.create(user=ada, email="boss@example.com", verified=False)
    send_mail("Confirm your address", "…", None, [address.email])
    assert "Confirm your address" not in ada_client.get(URL).content.decode()
    assert "Confirm your address" in sam_client.get(URL).content.decode()
    address.set_verified()
    send_mail("Welcome", "…", None, [address.email])
    assert "Welcome" in ada_client.get(URL).content.decode()


def test_staff_read_all_of_it(ada: User, sam_client: Client) -> None:
    send_mail("Reset your password", "…", None, [ada.email])
    assert "Reset your password" in sam_client.get(URL).content.decode()


def test_with_a_mail_server_there_is_no_such_page(sam_client: Client, settings: LazySettings) -> None:
    settings.EMAIL_URL = "smtp://mail.example.com"
    assert sam_client.get(URL).status_code == 404


@pytest.mark.django_db
def test_the_oldest_go_first() -> None:
    KeptMail.objects.bulk_create(KeptMail(recipient="a@example.com", subject=str(n), body="") for n in range(100))
    send_mail("newest", "…", None, ["a@example.com"])
    assert KeptMail.objects.count() == 100
    assert not KeptMail.objects.filter(subject="0").exists()


@pytest.mark.django_db
def test_much_mail_to_one_pushes_out_nobody_elses() -> None:
    send_mail("Reset your password", "…", None, ["b@example.com"])
    for number in range(120):
        send_mail(str(number), "…", None, ["a@example.com"])
    assert KeptMail.objects.filter(recipient="b@example.com", subject="Reset your password").exists()
    assert KeptMail.objects.filter(recipient="a@example.com").count() == 100


def test_staff_who_may_do_little_read_their_own_only(ada: User, ben: User) -> None:
    send_mail("Reset your password", "…", None, [ada.email])
    User.objects.filter(pk=ben.pk).update(is_staff=True)
    assert "Reset your password" not in client_of(ben).get(URL).content.decode()

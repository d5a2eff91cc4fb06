from collections.abc import Iterator

import pytest
from django.test import Client

from accounts.models import User
from accounts.services import InvitationSpentError, accept_operator_invitation, invite_operator
from accounts.signals import operator_arrived
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db
FORM = {"email": "olga@example.com", "password": PASSWORD}


@pytest.fixture
def arrivals() -> Iterator[list[bool]]:
    wishes: list[bool] = []

    def listen(sender: object, user: User, wants_sample_data: bool, **kwargs: object) -> None:
        wishes.append(wants_sample_data)

    operator_arrived.connect(listen)
    yield wishes
    operator_arrived.disconnect(listen)


def test_it_works(client: Client, arrivals: list[bool]) -> None:
    url = f"/setup/{invite_operator()}/"
    assert client.get(url).status_code == 200
    assert client.post(url, FORM).headers["Location"] == "/backends/"
    assert User.objects.get().is_staff
    assert client.get("/admin/").status_code == 200
    assert arrivals == [False]


def test_the_link_works_once(client: Client) -> None:
    url = f"/setup/{invite_operator()}/"
    client.post(url, FORM)
    used = Client().get(url)
    assert used.status_code == 410
    assert "This link was used already" in used.content.decode()
    assert Client().post(url, {**FORM, "email": "eve@example.com"}).status_code == 410
    assert User.objects.count() == 1


def test_two_at_once_make_one_account() -> None:
    token = invite_operator()
    accept_operator_invitation(token=token, email="a@example.com", password=PASSWORD)
    with pytest.raises(InvitationSpentError):
        accept_operator_invitation(token=token, email="b@example.com", password=PASSWORD)


def test_a_newer_link_ends_an_older_one(client: Client) -> None:
    old = invite_operator()
    invite_operator()
    assert client.get(f"/setup/{old}/").status_code == 404


def test_a_guessed_link_is_not_found(client: Client) -> None:
    assert client.get("/setup/guess/").status_code == 404


def test_a_weak_password_leaves_the_link_usable(client: Client) -> None:
    url = f"/setup/{invite_operator()}/"
    assert client.post(url, {**FORM, "password": "short"}).status_code == 400
    assert client.get(url).status_code == 200

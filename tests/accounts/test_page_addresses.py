"""The page of addresses offers for each what can be done with it, and nothing else."""

import pytest
from allauth.account.models import EmailAddress
from django.test import Client

from accounts.models import User

pytestmark = pytest.mark.django_db

PATH = "/accounts/email/"
ACTS = {"action_primary", "action_send", "action_remove"}


def offered(client: Client) -> set[str]:
    page = client.get(PATH).content.decode()
    return {act for act in ACTS if act in page}


def address(user: User, email: str, *, verified: bool, primary: bool = False) -> None:
    EmailAddress.objects.update_or_create(user=user, email=email, defaults={"verified": verified, "primary": primary})


def test_it_works(ada: User, ada_client: Client) -> None:
    address(ada, ada.email, verified=True, primary=True)
    address(ada, "ada@work.example", verified=True)
    assert offered(ada_client) == {"action_primary", "action_remove"}

    ada_client.post(PATH, {"email": "ada@work.example", "action_primary": "1"})

    assert EmailAddress.objects.get_primary(ada).email == "ada@work.example"


@pytest.mark.parametrize(("verified", "acts"), [(True, set()), (False, {"action_send"})])
def test_the_only_address_can_only_be_confirmed(ada: User, ada_client: Client, verified: bool, acts: set[str]) -> None:
    address(ada, ada.email, verified=verified, primary=True)
    assert offered(ada_client) == acts


def test_one_that_is_not_confirmed_cannot_become_the_primary(ada: User, ada_client: Client) -> None:
    address(ada, ada.email, verified=True, primary=True)
    address(ada, "ada@work.example", verified=False)
    assert offered(ada_client) == {"action_send", "action_remove"}


def test_without_another_way_to_sign_in_no_heading_stands_over_nothing(ada_client: Client) -> None:
    page = ada_client.get("/accounts/3rdparty/").content.decode()
    assert "no other sign-in is set up" in page
    assert "Connect another account" not in page

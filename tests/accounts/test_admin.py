"""Second factors in the admin: named so that it can be translated, secrets on no page, taken away on the record."""

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from accounts.models import AuditEvent, User

BASE = "/admin/accounts/secondfactor/"


@pytest.fixture
def factor(ada: User) -> Authenticator:
    return Authenticator.objects.create(user=ada, type=Authenticator.Type.TOTP, data={"secret": "JBSWY3DPEHPK3PXP"})


def test_it_works(sam_client: Client, factor: Authenticator) -> None:
    assert "Second factors" in sam_client.get("/admin/").content.decode()
    assert "Authenticators" not in sam_client.get("/admin/").content.decode()
    for path in (BASE, f"{BASE}{factor.pk}/change/"):
        page = sam_client.get(path).content.decode()
        assert "Ada" in page
        assert "JBSWY3DPEHPK3PXP" not in page


def test_taking_one_away_is_recorded(sam_client: Client, factor: Authenticator) -> None:
    sam_client.post(f"{BASE}{factor.pk}/delete/", {"post": "yes"})
    assert not Authenticator.objects.exists()
    assert AuditEvent.objects.get(action="second_factor.removed").before == {"type": "totp"}

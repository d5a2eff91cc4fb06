"""Second factors in the admin: named so that it can be translated, secrets on no page, taken away on the record."""

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import AuditEvent, User
from tests.conftest import client_of

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


def test_who_may_change_people_makes_nobody_more_than_they_are(ada: User, ben: User, sam: User) -> None:
    ben.is_staff = True
    ben.save()
    ben.user_permissions.set(Permission.objects.filter(codename__in=["change_user", "view_user"]))
    client = client_of(ben)
    fields = {"email": ben.email, "name": "Benedict", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    inline = {f"memberships-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL")}
    assert client.post(f"/admin/accounts/user/{ben.pk}/change/", {**fields, **inline}).status_code == 302
    ben.refresh_from_db()
    assert (ben.name, ben.is_superuser) == ("Benedict", False)
    assert ben.user_permissions.count() == 2
    assert client.post(f"/admin/accounts/user/{sam.pk}/change/", {**fields, **inline}).status_code == 403
    sam.refresh_from_db()
    assert sam.name == "Sam"

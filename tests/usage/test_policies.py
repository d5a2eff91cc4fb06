"""An account switched off or deleted in Django's admin: its keys stop in every gateway at once."""

import pytest
from django.test import Client

from accounts.models import Project, User
from apikeys.services import mint_key
from common import redis as servers
from usage.policies import CHANGED, load, redis_key

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def digest(ada: User, project: Project) -> str:
    """Of a key of Ada's that a gateway has at hand."""
    key, _secret = mint_key(project=project, name="laptop", by=ada)
    digest = key.secrets.get().digest
    assert load(digest) is not None
    servers.durable().set(redis_key(digest), "what a gateway read")
    return digest


def is_forgotten(digest: str) -> bool:
    return bool(servers.durable().get(redis_key(digest)) == CHANGED)


def switch(staff: Client, user: User, **boxes: str) -> None:
    """Save the admin's form of the user; a box that is not named is left empty."""
    places = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    fields = {"email": user.email, "name": user.name, "language": user.language}
    answer = staff.post(f"/admin/accounts/user/{user.pk}/change/", {**fields, **places, **boxes})
    assert answer.status_code == 302, answer.content.decode()


def test_switched_off_and_on(digest: str, ada: User, sam_client: Client) -> None:
    switch(sam_client, ada)
    assert is_forgotten(digest)
    assert load(digest) is None
    servers.durable().set(redis_key(digest), "what a gateway read")
    switch(sam_client, ada, is_active="on")
    assert is_forgotten(digest)
    assert load(digest) is not None


def test_another_change_tells_nobody(digest: str, ada: User, sam_client: Client) -> None:
    switch(sam_client, ada, is_active="on", name="Ada L.")
    assert not is_forgotten(digest)


def test_deleted(digest: str, ada: User, sam_client: Client) -> None:
    User.objects.filter(pk=ada.pk).delete()
    assert is_forgotten(digest)
    assert load(digest) is None

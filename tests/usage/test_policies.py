"""An account switched off or deleted in Django's admin: its keys stop in every gateway at once."""

import pytest
from django.test import Client

from accounts.models import Project, User
from apikeys.services import mint_key
from common import redis as servers
from tests.conftest import switch_account
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


def test_switched_off_and_on(digest: str, ada: User, sam_client: Client) -> None:
    switch_account(sam_client, ada)
    assert is_forgotten(digest)
    assert load(digest) is None
    servers.durable().set(redis_key(digest), "what a gateway read")
    switch_account(sam_client, ada, is_active="on")
    assert is_forgotten(digest)
    assert load(digest) is not None


def test_another_change_tells_nobody(digest: str, ada: User, sam_client: Client) -> None:
    switch_account(sam_client, ada, is_active="on", name="Ada L.")
    assert not is_forgotten(digest)


def test_deleted(digest: str, ada: User, sam_client: Client) -> None:
    User.objects.filter(pk=ada.pk).delete()
    assert is_forgotten(digest)
    assert load(digest) is None

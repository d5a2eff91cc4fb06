"""Programs are told what happens to the keys of an organization."""

import json
from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.test import Client

from accounts.models import Project, User
from apikeys.kinds import EVENT_TYPES
from apikeys.leaks import report_leak
from apikeys.services import mint_key, mint_management_key, revoke_key
from tests.fakes.receiver import Receiver, receiver
from webhooks.delivery import deliver_due
from webhooks.models import Message
from webhooks.services import create_endpoint


@pytest.fixture
def server(settings: LazySettings, ada: User, project: Project) -> Iterator[Receiver]:
    """Receives what Ada's organization is told."""
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    with receiver() as told:
        create_endpoint(organization=project.organization, url=told.url, description="", event_types=[], by=ada)
        yield told


def test_it_works(ada: User, ada_client: Client, project: Project, server: Receiver) -> None:
    key, secret = mint_key(project=project, name="laptop", by=ada)
    ada_client.post(f"/keys/{key.public_id}/revoke/")
    revoke_key(key=key, by=ada)
    deliver_due()
    bodies = {body["type"]: body["data"] for body in (json.loads(one.body) for one in server.received)}
    assert bodies["key.created"] == {
        "id": key.public_id,
        "name": "laptop",
        "kind": "project",
        "hint": key.hint,
        "project_id": project.public_id,
        "by": ada.public_id,
    }
    assert bodies == {"key.created": bodies["key.created"], "key.revoked": bodies["key.created"]}
    assert len(server.received) == 2
    assert secret not in str(server.received)


def test_a_leaked_key_is_told_before_it_ends(ada: User, project: Project, server: Receiver) -> None:
    _key, secret = mint_key(project=project, name="laptop", by=ada)
    report_leak(text=f"see {secret}")
    told = list(Message.objects.order_by("pk"))
    assert [message.event_type for message in told] == ["key.created", "key.leaked", "key.revoked"]
    assert [message.data["by"] for message in told] == [ada.public_id, None, None]
    assert secret not in str([message.data for message in told])


def test_the_keys_of_a_person_are_told_to_nobody(ada: User, server: Receiver) -> None:
    _key, secret = mint_management_key(owner=ada, name="terraform")
    report_leak(text=secret)
    assert not Message.objects.exists()


def test_the_examples_are_what_is_sent(ada: User, project: Project, server: Receiver) -> None:
    mint_key(project=project, name="laptop", by=ada)
    sent = Message.objects.get().data
    assert [event_type.example.keys() for event_type in EVENT_TYPES] == [sent.keys()] * 3

"""An `Idempotency-Key` at `/v1/files` and `/v1/batches`: asked for twice, or fifty times at once, made once."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import openai
import pytest
from django.conf import LazySettings
from django.db import transaction
from django.utils import timezone

from accounts.models import Membership, Project, User
from accounts.projects.services import create_project, set_place
from accounts.roles import ProjectRole, Role
from apikeys.services import mint_key
from batches import once
from batches.models import Batch, MadeOnce, StoredFile
from tests.batches.conftest import line, upload
from tests.batches.test_files import form, on_disk, post
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import START_SECONDS, Reply, Stage, ask, chat, is_there, wait_for, web_process
from tests.races import somebody_waits

KEY = {"Idempotency-Key": "5f0e-first"}


@pytest.fixture
def body(client: openai.OpenAI) -> dict[str, Any]:
    """What asks for a batch."""
    return {
        "input_file_id": upload(client, [line("one")]),
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"run": "first"},
    }


def make_batch(url: str, secret: str, body: dict[str, Any], headers: dict[str, str] = KEY) -> Reply:
    return ask(url, "/batches", secret=secret, body=body, headers=headers)


def make_file(url: str, secret: str, content: bytes = b"{}", *, name: str = "a.jsonl") -> Reply:
    return post(url, secret, form(("purpose", None, b"user_data"), ("file", name, content)), **KEY)


def test_it_works(url: str, secret: str, mint: Callable[..., str], body: dict[str, Any]) -> None:
    first = make_batch(url, secret, body)
    assert first.status == 200
    # In another order it says the same, and keys of one project are one to it.
    again = make_batch(url, mint(), dict(reversed(body.items())))
    assert (again.status, again.body) == (200, first.body)
    assert Batch.objects.count() == 1
    assert make_batch(url, secret, body, {"Idempotency-Key": "second"}).json["id"] != first.json["id"]
    assert Batch.objects.count() == 2


def test_a_file_is_stored_once(url: str, secret: str, settings: LazySettings) -> None:
    first, again = make_file(url, secret), make_file(url, secret)
    assert first.status == 200
    assert (again.status, again.body) == (200, first.body)
    assert StoredFile.objects.count() == 1
    assert len(on_disk(settings)) == 1


@pytest.mark.parametrize("changed", [{"metadata": None}, {"endpoint": "/v1/embeddings"}])
def test_another_request_under_the_same_key_is_refused(
    url: str, secret: str, body: dict[str, Any], changed: dict[str, Any]
) -> None:
    make_batch(url, secret, body)
    reply = make_batch(url, secret, body | changed)
    assert (reply.status, reply.error["code"]) == (422, "idempotency_key_reused")
    assert make_file(url, secret).status == 422
    assert (Batch.objects.count(), StoredFile.objects.count()) == (1, 1)


@pytest.mark.parametrize("changed", [{"content": b"[]"}, {"name": "b.jsonl"}])
def test_another_file_under_the_same_key_is_refused(
    url: str, secret: str, changed: dict[str, Any], settings: LazySettings
) -> None:
    make_file(url, secret)
    assert make_file(url, secret, **changed).status == 422
    assert len(on_disk(settings)) == 1


def test_fifty_at_once_make_one(url: str, secret: str, body: dict[str, Any]) -> None:
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _number: make_batch(url, secret, body), range(50)))
    assert Batch.objects.count() == 1
    assert {reply.status for reply in replies} <= {200, 409}
    assert len({reply.body for reply in replies if reply.status == 200}) == 1


def test_of_files_at_once_one_is_stored(url: str, secret: str, settings: LazySettings) -> None:
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _number: make_file(url, secret, b"x" * 100_000), range(20)))
    assert {reply.status for reply in replies} <= {200, 409}
    assert len({reply.body for reply in replies if reply.status == 200}) == 1
    assert StoredFile.objects.count() == 1
    wait_for(lambda: len(on_disk(settings)) == 1)


def test_a_refusal_is_not_kept(url: str, secret: str, body: dict[str, Any]) -> None:
    assert make_batch(url, secret, body | {"input_file_id": "file-none"}).status == 404
    assert make_batch(url, secret, body).status == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "täglich"])
def test_a_key_that_cannot_be(url: str, secret: str, body: dict[str, Any], key: str) -> None:
    reply = make_batch(url, secret, body, {"Idempotency-Key": key})
    assert (reply.status, reply.error["param"]) == (400, "Idempotency-Key")
    assert Batch.objects.count() == 0


def test_a_key_is_known_for_a_day(url: str, secret: str, body: dict[str, Any]) -> None:
    first = make_batch(url, secret, body)
    MadeOnce.objects.update(created_at=timezone.now() - once.KEPT + timedelta(minutes=1))
    once.forget()
    assert make_batch(url, secret, body).body == first.body
    MadeOnce.objects.update(created_at=timezone.now() - once.KEPT)
    assert make_batch(url, secret, body).json["id"] != first.json["id"], "also before it is swept"
    MadeOnce.objects.update(created_at=timezone.now() - once.KEPT)
    once.forget()
    assert not MadeOnce.objects.exists()


@pytest.fixture
def elsewhere(stage: Stage) -> Iterator[Project]:
    project = create_project(organization=stage.project.organization, name="Elsewhere", by=stage.ada)
    yield project
    project.delete()


def test_another_project_has_keys_of_its_own(url: str, secret: str, elsewhere: Project, stage: Stage) -> None:
    first = make_file(url, secret)
    other = make_file(url, mint_key(project=elsewhere, name="theirs", by=stage.ada)[1], b"something else")
    assert other.status == 200
    assert other.json["id"] != first.json["id"]


def test_participants_have_keys_of_their_own(url: str, stage: Stage) -> None:
    replies, people = [], []
    for name in ("pia", "pol"):
        person = User.objects.create_user(f"{name}@once.example", name=name)
        people.append(person)
        place = Membership.objects.create(organization=stage.project.organization, user=person, role=Role.GUEST)
        set_place(project=stage.project, membership=place, role=ProjectRole.PARTICIPANT, by=stage.ada)
        secret = mint_key(project=stage.project, name="own", by=person)[1]
        replies.append(make_file(url, secret, name.encode()))
    assert [reply.status for reply in replies] == [200, 200]
    for person in people:
        person.delete()


@contextmanager
def held_up(project: Project) -> Iterator[None]:
    """What makes batches waits in the middle, with its key taken, until the end of the block."""
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        yield


def test_what_takes_long_holds_nobody_up(url: str, secret: str, body: dict[str, Any], stage: Stage) -> None:
    with ThreadPoolExecutor(1) as pool, held_up(stage.project):
        first = pool.submit(make_batch, url, secret, body)
        wait_for(somebody_waits)
        replies = [make_batch(url, secret, body), first.result()]
    for reply in replies:
        assert (reply.status, reply.error["code"]) == (409, "idempotency_key_in_use")
        assert reply.headers["retry-after"] == "1"
        assert "x-should-retry" not in reply.headers
    assert make_batch(url, secret, body).status == 200


def test_a_gateway_that_is_killed_in_the_middle_leaves_the_key_free(
    url: str, secret: str, body: dict[str, Any], stage: Stage, tmp_path: Path
) -> None:
    with web_process(tmp_path) as (own, process):
        wait_for(lambda: is_there(own), seconds=START_SECONDS)
        with ThreadPoolExecutor(1) as pool, held_up(stage.project):
            waiting = pool.submit(make_batch, own, secret, body)
            wait_for(somebody_waits)
            process.send_signal(signal.SIGKILL)
            with pytest.raises(ConnectionError):
                waiting.result()
    wait_for(lambda: make_batch(url, secret, body).status == 200)
    assert Batch.objects.count() == 1


def test_a_call_of_a_model_is_made_each_time(url: str, secret: str, fake: FakeInferenceServer) -> None:
    """What it answers is not kept."""
    before = fake.ledger.requests
    for _number in range(2):
        sent = {"model": "fake-chat", "messages": chat()}
        assert ask(url, "/chat/completions", secret=secret, body=sent, headers=KEY).status == 200
    assert fake.ledger.requests == before + 2

"""What others have is answered like what nobody has: LiteLLM's users could read and cancel each other's batches."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import openai
import pytest

from accounts.models import Membership, Project, User
from accounts.projects.services import create_project, set_place
from accounts.roles import ProjectRole, Role
from apikeys.services import mint_key
from batches.models import Batch, StoredFile
from batches.worker import BatchWorker
from gateway.files import MOST_UPLOADS_OF_ONE
from tests.batches.conftest import in_the_end, line, make, upload
from tests.gateway.conftest import Stage, ask, wait_for


@pytest.fixture
def elsewhere(stage: Stage) -> Iterator[Project]:
    """Another project of the same organization and the same person."""
    project = create_project(organization=stage.project.organization, name="Elsewhere", by=stage.ada)
    yield project
    project.delete()


def told(text: str, *names: str) -> str:
    for name in names:
        text = text.replace(name, "…")
    return text


def test_another_project_is_told_what_everybody_is_told_of_nothing(
    url: str, client: openai.OpenAI, elsewhere: Project, stage: Stage, worker: BatchWorker
) -> None:
    batch = make(client, [line("one")])
    worker.take(batch.id)
    over = in_the_end(client, batch)
    assert over.output_file_id
    stranger = mint_key(project=elsewhere, name="theirs", by=stage.ada)[1]
    mine = {"file": [over.output_file_id, batch.input_file_id], "batch": [batch.id]}
    nobodys = {"file": "file-0000000000000000000000", "batch": "batch_0000000000000000000000"}
    for kind, method, path in (
        ("file", "GET", "/files/{}"),
        ("file", "DELETE", "/files/{}"),
        ("file", "GET", "/files/{}/content"),
        ("file", "GET", "/files?after={}"),
        ("batch", "GET", "/batches/{}"),
        ("batch", "POST", "/batches/{}/cancel"),
        ("batch", "GET", "/batches?after={}"),
    ):
        unknown = ask(url, path.format(nobodys[kind]), method=method, secret=stranger)
        assert unknown.status == 404
        assert unknown.error["message"] == f"No such {kind.title()} object: {nobodys[kind]}"
        for name in mine[kind]:
            reply = ask(url, path.format(name), method=method, secret=stranger)
            assert reply.status == 404
            assert told(str(reply.error), name) == told(str(unknown.error), nobodys[kind])
    for path in ("/files", "/batches"):
        assert ask(url, path, method="GET", secret=stranger).json["data"] == []
    body = {"input_file_id": batch.input_file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    reply = ask(url, "/batches", secret=stranger, body=body)
    assert (reply.status, reply.error["param"]) == (404, "input_file_id")
    assert StoredFile.objects.count() == 2
    assert Batch.objects.count() == 1


def test_keys_of_one_project_share_its_files(url: str, client: openai.OpenAI, mint: Callable[..., str]) -> None:
    stored = upload(client, [line("one")])
    assert ask(url, f"/files/{stored}", method="GET", secret=mint()).status == 200


def test_participants_do_not_see_what_others_have(url: str, client: openai.OpenAI, stage: Stage) -> None:
    """In a course everybody works in one project, and nobody hands in another's work."""
    keys = []
    people = []
    for name in ("pia", "pol"):
        person = User.objects.create_user(f"{name}@course.example", name=name)
        people.append(person)
        place = Membership.objects.create(organization=stage.project.organization, user=person, role=Role.GUEST)
        set_place(project=stage.project, membership=place, role=ProjectRole.PARTICIPANT, by=stage.ada)
        keys.append(mint_key(project=stage.project, name="theirs", by=person)[1])
    try:
        with openai.OpenAI(base_url=url, api_key=keys[0], max_retries=0) as pia:
            batch = make(pia, [line("one")])
            assert [found.id for found in pia.batches.list()] == [batch.id]
        for path in (f"/files/{batch.input_file_id}", f"/files/{batch.input_file_id}/content", f"/batches/{batch.id}"):
            assert ask(url, path, method="GET", secret=keys[1]).status == 404
            assert ask(url, path, method="GET", secret=keys[0]).status == 200
        assert ask(url, "/files", method="GET", secret=keys[1]).json["data"] == []
        # Who runs it sees everybody's.
        assert [found.id for found in client.batches.list()] == [batch.id]
    finally:
        for person in people:
            person.delete()


def test_the_uploads_of_one_project_leave_room_for_another(
    url: str, secret: str, elsewhere: Project, stage: Stage
) -> None:
    parts, rest = urlsplit(url), b"a" * 10
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n"
    other = mint_key(project=elsewhere, name="theirs", by=stage.ada)[1]

    def status_of(key: str) -> int:
        return ask(
            url, "/files", secret=key, body=rest, headers={"Content-Type": "multipart/form-data; boundary=b"}
        ).status

    with ExitStack() as uploads:
        for _number in range(MOST_UPLOADS_OF_ONE):
            slow = uploads.enter_context(socket.create_connection((parts.hostname or "", parts.port or 0)))
            slow.sendall(head.encode())
        wait_for(lambda: status_of(secret) == 429)
        assert status_of(other) == 400, "what it sends is read, and no form"
    wait_for(lambda: status_of(secret) == 400)

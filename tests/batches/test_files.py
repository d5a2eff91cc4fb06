"""Files over HTTP with OpenAI's own client: stored, listed, handed out, deleted, expired; and what is refused."""

import http.client
import os
import resource
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from django.conf import LazySettings
from django.core.cache import cache
from django.utils import timezone

from accounts.models import Organization, Project
from apikeys.models import ApiKey
from apikeys.services import revoke_key
from batches import files, progress, storing
from batches.models import StoredFile
from gateway.files import REQUESTS_PER_MINUTE
from tests.batches.conftest import line, make, upload
from tests.gateway.conftest import Reply, Stage, ask, wait_for
from tests.gateway.test_connections import connected, head, status

BOUNDARY = "b0undary"


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """The body of a form: names, names of files, contents."""
    body = b""
    for name, filename, content in parts:
        extra = "" if filename is None else f'; filename="{filename}"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def post(url: str, secret: str, body: bytes, **headers: str) -> Reply:
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return ask(url, "/files", secret=secret, body=body, headers={**kind, **headers})


def on_disk(settings: LazySettings) -> list[Path]:
    """Whatever is in the storage or on its way there."""
    folders = [Path(settings.MEDIA_ROOT) / "files", Path(settings.VAR_DIR) / "uploads"]
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_it_works(client: openai.OpenAI, settings: LazySettings) -> None:
    content = bytes(range(256)) * 10_000
    stored = client.files.create(file=("../data/täglich\u200b.bin", content), purpose="user_data")
    assert (stored.object, stored.bytes, stored.purpose) == ("file", 2_560_000, "user_data")
    assert stored.id.startswith("file-")
    assert (stored.filename, stored.status, stored.expires_at) == ("täglich.bin", "processed", None)
    assert client.files.retrieve(stored.id) == stored
    answer = client.files.content(stored.id)
    assert answer.read() == content
    assert answer.response.headers["content-type"] == "application/octet-stream"
    assert answer.response.headers["content-disposition"].startswith("attachment; filename*=utf-8''t%C3%A4glich.bin")
    assert answer.response.headers["x-content-type-options"] == "nosniff"
    (path,) = on_disk(settings)
    assert path.stat().st_mode & 0o077 == 0

    gone = client.files.delete(stored.id)
    assert (gone.id, gone.object, gone.deleted) == (stored.id, "file", True)
    with pytest.raises(openai.NotFoundError, match=f"No such File object: {stored.id}"):
        client.files.content(stored.id)
    assert on_disk(settings) == []


def test_a_file_that_was_read_leaves_its_connection_to_the_next_request(client: openai.OpenAI) -> None:
    stored = client.files.create(file=("a.jsonl", b"{}\n"), purpose="user_data")
    for _number in range(20):
        assert client.files.content(stored.id).read() == b"{}\n"


def test_a_list_is_read_page_by_page(client: openai.OpenAI) -> None:
    ids = [client.files.create(file=("a.txt", b"x"), purpose="user_data").id for _ in range(3)]
    batch_input = upload(client, [line("one")])
    assert [file.id for file in client.files.list()] == [batch_input, *reversed(ids)]
    assert [file.id for file in client.files.list(limit=2)] == [batch_input, *reversed(ids)]
    assert [file.id for file in client.files.list(limit=2, order="asc")] == [*ids, batch_input]
    assert [file.id for file in client.files.list(purpose="batch")] == [batch_input]
    page = client.files.list(limit=2, purpose="user_data")
    assert ([file.id for file in page.data], page.has_more) == ([ids[2], ids[1]], True)


def test_a_file_ends_when_its_time_is_over(client: openai.OpenAI, settings: LazySettings) -> None:
    batch_input = client.files.retrieve(upload(client, [line("one")]))
    assert batch_input.expires_at == batch_input.created_at + 30 * 24 * 3600
    kept = client.files.create(
        file=("a", b"x"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert kept.expires_at == kept.created_at + 3600
    StoredFile.objects.filter(public_id=kept.id).update(expires_at=timezone.now())
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.files.retrieve(kept.id)
    assert [file.id for file in client.files.list()] == [batch_input.id]
    assert progress.remove_expired_files() == 1
    assert len(on_disk(settings)) == 1


def test_the_input_of_a_batch_stays_until_the_batch_is_over(client: openai.OpenAI) -> None:
    batch = make(client, [line("one")])
    with pytest.raises(openai.ConflictError, match=f"is the input of {batch.id}") as refusal:
        client.files.delete(batch.input_file_id)
    assert refusal.value.code == "file_in_use"
    StoredFile.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert progress.remove_expired_files() == 0


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([("purpose", None, b"user_data")], "file"),
        ([("file", "a.txt", b"x")], "purpose"),
        ([("purpose", None, b"batch_output"), ("file", "a.txt", b"x")], "purpose"),
        ([("purpose", None, b"user_data"), ("file", None, b"x")], "file"),
        ([("purpose", None, b"user_data"), ("document", "a.txt", b"x")], "document"),
        ([("purpose", None, b"user_data"), ("file", "a", b"x"), ("file", "b", b"x")], "file"),
        ([("purpose", None, b"x" * 5000), ("file", "a", b"x")], "purpose"),
        (
            [("purpose", None, b"user_data"), ("expires_after[seconds]", None, b"9"), ("file", "a", b"x")],
            "expires_after",
        ),
        (
            [
                ("purpose", None, b"user_data"),
                ("expires_after[anchor]", None, b"created_at"),
                ("expires_after[seconds]", None, b"60"),
                ("file", "a", b"x"),
            ],
            "expires_after.seconds",
        ),
    ],
)
def test_a_form_that_lacks_something_is_refused(
    url: str, secret: str, settings: LazySettings, parts: Any, param: str
) -> None:
    reply = post(url, secret, form(*parts))
    assert (reply.status, reply.error["param"]) == (400, param)
    assert on_disk(settings) == []


@pytest.mark.parametrize("body", [b"", b"no form", form(("purpose", None, b"user_data"), ("file", "a", b"x"))[:-9]])
def test_what_is_no_whole_form_is_refused(url: str, secret: str, settings: LazySettings, body: bytes) -> None:
    reply = post(url, secret, body)
    assert reply.status == 400
    assert "multipart/form-data" in reply.error["message"]
    assert on_disk(settings) == []


def test_json_is_no_form(url: str, secret: str) -> None:
    reply = ask(url, "/files", secret=secret, body={"purpose": "batch"})
    assert (reply.status, "multipart/form-data" in reply.error["message"]) == (400, True)


def test_a_file_that_is_too_large_is_refused_and_not_kept(
    url: str, secret: str, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FILES_MAX_BYTES = 100_000
    whole = form(("purpose", None, b"user_data"), ("file", "a", b"x" * 100_001))
    assert post(url, secret, whole).status == 413
    assert post(url, secret, form(("file", "a", b"x" * 100_000), ("purpose", None, b"user_data"))).status == 200
    monkeypatch.setattr(files, "MOST_BATCH_INPUT_BYTES", 1000)
    for parts in ([("purpose", None, b"batch"), ("file", "a", b"x" * 1001)],) * 2:
        assert post(url, secret, form(*parts)).status == 413
        assert post(url, secret, form(*reversed(parts))).status == 413
    announced = post(url, secret, b"", **{"Content-Length": str(10**10)}).error
    assert "100000 bytes" in announced["message"]
    assert len(on_disk(settings)) == 1


def test_a_project_has_room_for_so_much(url: str, secret: str, settings: LazySettings) -> None:
    settings.FILES_PROJECT_MAX_BYTES = 1500
    parts = [("purpose", None, b"user_data"), ("file", "a", b"x" * 1000)]
    assert post(url, secret, form(*parts)).status == 200
    reply = post(url, secret, form(*parts))
    assert (reply.status, reply.error["code"]) == (400, "project_storage_full")
    assert len(on_disk(settings)) == 1


def test_a_client_that_hangs_up_leaves_nothing_behind(url: str, secret: str, settings: LazySettings) -> None:
    parts = urlsplit(url)
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as caller:
        caller.sendall(
            f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nContent-Length: 90000000\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n{head}".encode()
        )
        caller.sendall(b"x" * 3_000_000)
        wait_for(lambda: any(path.stat().st_size for path in on_disk(settings)))
    wait_for(lambda: on_disk(settings) == [])
    assert not StoredFile.objects.exists()


def test_a_key_revoked_while_its_file_comes_stores_none(
    url: str, secret: str, stage: Stage, settings: LazySettings
) -> None:
    body = form(("purpose", None, b"user_data"), ("file", "a", b"x" * 3_000_000))
    with connected(url) as connection:
        connection.sendall(head(len(body), secret, path="files", kind=f"multipart/form-data; boundary={BOUNDARY}"))
        connection.sendall(body[:2_000_000])
        wait_for(lambda: any(path.stat().st_size for path in on_disk(settings)))
        revoke_key(key=ApiKey.objects.behind(secret).get(), by=stage.ada)
        wait_for(lambda: ask(url, "/models", method="GET", secret=secret).status == 401)
        connection.sendall(body[2_000_000:])
        assert status(connection) == 401
    assert not StoredFile.objects.exists()
    wait_for(lambda: on_disk(settings) == [])


def test_a_disk_without_room_is_told(url: str, secret: str, settings: LazySettings) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses to write further than this, as it does when the disk is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        reply = post(url, secret, form(("purpose", None, b"user_data"), ("file", "a", b"x" * 5_000_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (reply.status, reply.error["code"]) == (507, "storage_full")
    assert reply.headers["x-should-retry"] == "false"
    assert on_disk(settings) == []
    assert not StoredFile.objects.exists()


def test_what_a_killed_process_left_is_removed_a_day_later(settings: LazySettings) -> None:
    folder = Path(settings.VAR_DIR) / "uploads"
    with storing.scratch():
        left = folder / "left.upload"
        left.write_bytes(b"x")
        storing.sweep()
        assert left.exists()
        os.utime(left, (0, 0))
        storing.sweep()
        assert not left.exists()
        assert len(on_disk(settings)) == 1


def test_a_reader_that_leaves_ends_the_sending(url: str, secret: str, client: openai.OpenAI) -> None:
    stored = client.files.create(file=("a", b"x" * 20_000_000), purpose="user_data")
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("GET", f"/v1/files/{stored.id}/content", headers={"Authorization": f"Bearer {secret}"})
    assert connection.getresponse().read(1000) == b"x" * 1000
    connection.close()
    assert client.files.content(stored.id).read() == b"x" * 20_000_000


def test_a_key_that_is_held_to_endpoints_needs_files_among_them(url: str, mint: Callable[..., str]) -> None:
    narrow, wide = mint(allowed_endpoints=("chat/completions",)), mint(allowed_endpoints=("files",))
    for method, path in (("GET", "/files"), ("POST", "/files"), ("GET", "/files/file-1/content"), ("GET", "/batches")):
        reply = ask(url, path, method=method, secret=narrow)
        assert (reply.status, reply.error["code"]) == (403, "endpoint_not_allowed")
    assert ask(url, "/files", method="GET", secret=wide).status == 200
    assert ask(url, "/batches", method="GET", secret=wide).status == 403


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("order=up", "order"),
        ("purpose=none", "purpose"),
        ("after=file-none", "after"),
        ("after=%00", "after"),
        ("before=file-1", "before"),
    ],
)
def test_a_list_that_cannot_be_is_refused(url: str, secret: str, query: str, param: str) -> None:
    reply = ask(url, f"/files?{query}", method="GET", secret=secret)
    assert (reply.status, reply.error["param"]) == (404 if param == "after" else 400, param)


def test_one_address_may_not_ask_without_end(url: str, secret: str) -> None:
    cache.set("often:files_and_batches:127.0.0.1", REQUESTS_PER_MINUTE - 1, 60)
    assert ask(url, "/files", method="GET", secret=secret).status == 200
    reply = ask(url, "/batches", method="GET", secret=secret)
    assert (reply.status, reply.error["code"]) == (429, "rate_limit_exceeded")
    assert reply.headers["retry-after"] == "60"
    cache.delete("often:files_and_batches:127.0.0.1")


def test_a_project_takes_its_files_along(client: openai.OpenAI, settings: LazySettings) -> None:
    stored = StoredFile.objects.get(public_id=client.files.create(file=("a", b"x"), purpose="user_data").id)
    elsewhere = Project.objects.create(organization=Organization.objects.get(projects=stored.project), name="Short")
    StoredFile.objects.update(project=elsewhere)
    assert on_disk(settings)
    elsewhere.delete()
    assert on_disk(settings) == []

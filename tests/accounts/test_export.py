"""A copy of everything held about a person."""

import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.core.mail import EmailMessage
from django.db import connection
from django.test import Client
from django.utils import timezone
from psycopg import sql

from accounts import holdings, jobs
from accounts.exports import remove_expired, start_export, write_export
from accounts.holdings import Document, Holding, as_json
from accounts.mail import KeptMailBackend
from accounts.models import AccountExport, JobState, Project, User
from accounts.tasks import sweep
from apikeys.services import mint_key
from apikeys.verification import digests_of
from forum import services as forum
from playground.models import Run
from tests.accounts.test_sessions import sign_in
from tests.conftest import PASSWORD
from tests.usage.ledger import add_call
from usage.models import UsageEvent

PAGE = "/settings/data/"


@pytest.fixture(autouse=True)
def media(settings: LazySettings, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = str(tmp_path)
    return tmp_path


def files_of(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def proven(user: User) -> Client:
    """Somebody who has just given their password again."""
    client = sign_in(user)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def test_it_works(ada: User, project: Project) -> None:
    key, secret = mint_key(project=project, name="laptop", by=ada)
    add_call(project, timezone.now(), key=key, model="qwen3-8b")
    Run.objects.create(user=ada, project=project, model_name="qwen3-8b", messages=[{"role": "user", "content": "Hi"}])
    forum.ask(author=ada, title="Why does it stall?", source="It **stops** for seconds.", tags=[])
    client = proven(ada)
    assert client.post(f"{PAGE}export/").headers["Location"] == PAGE
    export = AccountExport.objects.get()
    assert "The copy is being made" in client.get(PAGE).content.decode()
    write_export(export=export)
    export.refresh_from_db()
    assert (export.state, export.done) == (JobState.DONE, export.total)
    assert "Download" in client.get(f"{PAGE}export/progress/").content.decode()

    answer = client.get(f"{PAGE}export/{export.public_id}/")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    files = files_of(b"".join(answer.streaming_content))  # type: ignore[attr-defined]
    assert json.loads(files["account/profile.json"])[0]["email"] == ada.email
    assert json.loads(files["account/sessions.json"])[0]["ip"] == "192.0.2.7"
    assert json.loads(files["keys/keys.json"])[0]["name"] == "laptop"
    assert json.loads(files["usage/calls.json"])[0]["model"] == "qwen3-8b"
    assert json.loads(files["playground/runs.json"])[0]["messages"][0]["content"] == "Hi"
    (post,) = (text for name, text in files.items() if name.startswith("posts/question-"))
    assert "title: Why does it stall?" in post
    assert post.endswith("It **stops** for seconds.\n")
    everything = "".join(files.values())
    for hidden in (secret, *digests_of(secret), ada.password):
        assert hidden not in everything


def test_it_holds_nothing_of_others(ada: User, cyd: User, project: Project) -> None:
    mint_key(project=project, name="of Ada", by=ada)
    export = start_export(user=cyd)
    write_export(export=export)
    export.refresh_from_db()
    everything = "".join(files_of(export.file.read()).values())
    assert cyd.email in everything
    assert ada.email not in everything
    assert "of Ada" not in everything


def test_an_address_that_was_added_and_never_confirmed_opens_nobodys_mail(ada: User, cyd: User) -> None:
    EmailAddress.objects.create(user=ada, email=cyd.email, verified=False)
    KeptMailBackend().send_messages([EmailMessage("Choose a new password", "Follow it", to=[cyd.email])])
    write_export(export=start_export(user=ada))
    export = AccountExport.objects.get()
    with export.file.open() as file:
        assert "Choose a new password" not in "".join(files_of(file.read()).values())


def test_it_is_handed_out_to_its_owner_after_a_proof_and_for_a_day(ada: User, cyd: User) -> None:
    export = start_export(user=ada)
    write_export(export=export)
    url = f"{PAGE}export/{export.public_id}/"
    assert sign_in(ada).get(url).headers["Location"].startswith("/accounts/reauthenticate/")
    assert proven(cyd).get(url).status_code == 404
    AccountExport.objects.update(expires_at=timezone.now())
    assert proven(ada).get(url).status_code == 404


def test_what_is_over_is_deleted(ada: User, media: Path) -> None:
    write_export(export=start_export(user=ada))
    assert remove_expired() == 0
    AccountExport.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert len(list(media.rglob("*.zip"))) == 1
    assert remove_expired() == 1
    assert not list(media.rglob("*.zip"))


def test_a_second_click_makes_no_second_copy(ada: User) -> None:
    assert start_export(user=ada) == start_export(user=ada)


def test_a_message_that_comes_twice_makes_one_copy(ada: User, media: Path) -> None:
    export = start_export(user=ada)
    write_export(export=export)
    write_export(export=export)
    assert len(list(media.rglob("*.zip"))) == 1
    assert AccountExport.objects.get().attempts == 1


def test_what_a_dead_worker_left_is_begun_again(ada: User, media: Path) -> None:
    export = start_export(user=ada)
    AccountExport.objects.update(state=JobState.RUNNING, done=2, heartbeat_at=timezone.now() - jobs.SILENT)
    assert list(jobs.left_behind(AccountExport.objects.all())) == [export]
    sweep()
    write_export(export=export)
    assert AccountExport.objects.get().state == JobState.DONE


def test_a_fault_is_tried_three_times(ada: User) -> None:
    export = start_export(user=ada)

    def fail() -> None:
        raise ZeroDivisionError

    states = []
    for _attempt in range(4):
        try:
            jobs.work(export, [fail], gives_up=True)
        except ZeroDivisionError:
            states.append(AccountExport.objects.get().state)
    assert states == [JobState.WAITING, JobState.WAITING, JobState.FAILED]


def test_a_worker_that_dies_counts_as_an_attempt(ada: User) -> None:
    start_export(user=ada)
    long_ago = timezone.now() - timedelta(hours=1)
    AccountExport.objects.update(state=JobState.RUNNING, attempts=jobs.MOST_ATTEMPTS, heartbeat_at=long_ago)
    write_export(export=AccountExport.objects.get())
    assert AccountExport.objects.get().state == JobState.FAILED


def test_a_copy_whose_account_is_erased_meanwhile_leaves_no_file(
    ada: User, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def erase_meanwhile(_user: User) -> list[Document]:
        AccountExport.objects.all().delete()
        return []

    none: frozenset[str] = frozenset()
    holding = Holding(app="later", exports=none, erases=none, export=erase_meanwhile, erase=lambda _user: None)
    monkeypatch.setitem(holdings._holdings, holding.app, holding)
    write_export(export=start_export(user=ada))
    assert not list(media.rglob("*.zip"))


def test_many_rows_are_written_in_pieces() -> None:
    pieces = as_json("x.json", ({"number": number} for number in range(100_000))).pieces
    text = "".join(pieces)
    assert len(json.loads(text)) == 100_000
    assert json.loads("".join(as_json("x.json", []).pieces)) == []


def test_a_hundred_thousand_calls_are_all_there(ada: User, project: Project) -> None:
    key, _secret = mint_key(project=project, name="laptop", by=ada)
    call = add_call(project, timezone.now(), key=key, model="qwen3-8b")
    columns = [field.column or "" for field in UsageEvent._meta.concrete_fields]
    same = sql.Composed([sql.Identifier(name) for name in columns if name not in ("id", "request_id")]).join(", ")
    copies = sql.SQL(
        "INSERT INTO usage_usageevent (id, request_id, {same}) SELECT gen_random_uuid(), 'req_' || n, {same}"
        " FROM usage_usageevent, generate_series(1, 99999) AS n"
    )
    with connection.cursor() as cursor:
        cursor.execute(copies.format(same=same))
    export = start_export(user=ada)
    write_export(export=export)
    export.refresh_from_db()
    with zipfile.ZipFile(export.file.path) as archive:
        names = {row["request_id"] for row in json.loads(archive.read("usage/calls.json"))}
    assert len(names) == 100_000
    assert {call.request_id, "req_1", "req_99999"} <= names

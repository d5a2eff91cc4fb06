"""After everything that is done with keys, nothing of a secret stands where it is kept, sent or logged.

Web and worker run as processes of their own, as an operator starts them, over a Redis of their own: so what they log
and what Redis writes to the disk can be read to the last byte.
"""

import base64
import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import pytest
import redis
from django.conf import LazySettings, settings
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.test import Client
from psycopg import sql

from accounts.models import Project
from accounts.projects.services import open_service_account
from apikeys.models import ApiKey
from apikeys.services import mint_key, mint_management_key, retire_secret, revoke_key, rotate_key
from apikeys.verification import find_keys, new_secret
from catalog.models import Backend, Deployment, HostedModel
from notifications.services import send_waiting
from portal.embedded.program import free_port
from portal.supervisor import portal_programs
from tests.conftest import client_of, person
from tests.fakes.github import GitHub, github
from tests.fakes.inference_server import FakeInferenceServer
from tests.fakes.receiver import Receiver, receiver
from tests.gateway.conftest import START_SECONDS, Reply, ask, chat, wait_for
from tests.services import durable_redis_of_its_own
from usage.ingest import drain
from webhooks.delivery import deliver_due
from webhooks.services import create_endpoint

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 1000
PIECE = 12
"""So many characters of a secret are too much: what is shown of one are its first four and its last four."""
_WORDS = re.compile(rf"[0-9A-Za-z]{{{PIECE},}}")


def pieces_of(secret: str) -> Iterator[str]:
    """All runs of PIECE characters of what is secret in a key, as it is and in base64 wherever it stands in there."""
    middle = secret.partition("_")[2][:-4]
    yield from windows(middle)
    for offset in range(3):
        # The first and the last group hold bits of what stands around it.
        yield from windows(base64.b64encode(b"x" * offset + middle.encode()).decode().rstrip("=")[4:-4])


def windows(word: str) -> Iterator[str]:
    return (word[start : start + PIECE] for start in range(len(word) - PIECE + 1))


def found(secrets: Iterable[str], places: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Where anything of the secrets stands, and what stands there."""
    pieces = {piece for secret in secrets for piece in pieces_of(secret)}

    def holds_one(text: str) -> bool:
        return any(not pieces.isdisjoint(windows(word)) for word in _WORDS.findall(text))

    return [(place, text[:300]) for place, text in places if holds_one(text) or holds_one(unquote(text))]


@dataclass(frozen=True)
class Stage:
    """The portal as processes, and those it talks to."""

    url: str
    var: Path
    output: Path
    redis: redis.Redis
    hub: GitHub
    told: Receiver


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the portal writes to its log in this process, as it writes it."""
    root, written = logging.getLogger(), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for known in root.handlers:
        if type(known) is logging.StreamHandler and known.formatter:
            handler.setFormatter(known.formatter)
    root.addHandler(handler)
    yield written
    root.removeHandler(handler)


@contextmanager
def running(command: list[str], *, output: Path, environment: dict[str, str]) -> Iterator[None]:
    with output.open("ab") as written:
        process = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stdout=written, stderr=written)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def stage(settings: LazySettings, tmp_path: Path) -> Iterator[Stage]:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    settings.VAR_DIR = tmp_path
    database, port, output = connection.settings_dict, free_port(), tmp_path / "output"
    place = f"{database['HOST']}:{database['PORT'] or 5432}/{database['NAME']}"
    with ExitStack() as parts:
        address = parts.enter_context(durable_redis_of_its_own(settings))
        hub, told = parts.enter_context(github()), parts.enter_context(receiver())
        fake = parts.enter_context(FakeInferenceServer())
        settings.GITHUB_SECRET_SCANNING_KEYS_URL = hub.url
        backend = Backend.objects.create(name="fake", base_url=fake.base_url, kind="vllm")
        model = HostedModel.objects.create(public_name="fake-chat")
        Deployment.objects.create(hosted_model=model, backend=backend, backend_name="fake-chat")
        changed = {
            "DATABASE_URL": f"postgres://{database['USER']}:{database['PASSWORD']}@{place}",
            "REDIS_URL": address,
            "GITHUB_SECRET_SCANNING_KEYS_URL": hub.url,
            "OUTBOUND_NETWORKS": "127.0.0.0/8",
        }
        web = portal_programs(var=tmp_path, port=port)[0]
        environment = {**web.environment, **changed}
        worker = [sys.executable, "-m", "celery", "-A", "portal", "--quiet", "worker", "-P", "threads", "-c", "2"]
        worker += ["--without-gossip", "--without-mingle"]
        for command in (list(web.command), worker):
            parts.enter_context(running(command, output=output, environment=environment))
        server = redis.Redis.from_url(address)
        yield Stage(f"http://127.0.0.1:{port}", tmp_path, output, server, hub, told)
        server.close()


def rows() -> Iterator[tuple[str, str]]:
    """Every row of every table of every schema that is not PostgreSQL's own, as text."""
    with connection.cursor() as cursor:
        cursor.execute(r"SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema$)'")
        for schema, table in cursor.fetchall():
            name = sql.Identifier(schema, table)
            cursor.execute(sql.SQL("SELECT t::text FROM {} AS t").format(name))
            yield from ((table, row) for (row,) in cursor.fetchall())
    # Stored packed, and so not to be read above.
    yield from (("session", str(session.get_decoded())) for session in Session.objects.all())


def kept_in_redis() -> Iterator[tuple[str, str]]:
    """Every key and every value of each server: caches, limits, streams, and Celery's messages."""
    for url in {settings.REDIS_URL, settings.REDIS_VOLATILE_URL, os.environ["REDIS_URL"]}:
        server = redis.Redis.from_url(url)
        readers: dict[bytes, Callable[[Any], Any]] = {
            b"string": server.get,
            b"hash": server.hgetall,
            b"list": lambda name, server=server: server.lrange(name, 0, -1),  # type: ignore[misc]
            b"set": server.smembers,
            b"zset": lambda name, server=server: server.zrange(name, 0, -1, withscores=True),  # type: ignore[misc]
            b"stream": server.xrange,
        }
        for name in server.scan_iter():
            kind: Any = server.type(name)
            if kind in readers:
                yield f"redis {name!r}", f"{name!r} {readers[kind](name)!r}"
        server.close()


def files_of(server: "redis.Redis") -> list[tuple[str, str]]:
    """Its files as they grew, command by command, and as they are after each way to write them anew."""
    folder = Path(cast("dict[str, str]", server.config_get("dir"))["dir"])

    def read() -> list[tuple[str, str]]:
        files = [file for file in folder.rglob("*") if file.suffix in {".aof", ".rdb"}]
        return [(file.suffix, file.read_bytes().decode("latin-1")) for file in files]

    def state() -> dict[str, Any]:
        return cast("dict[str, Any]", server.info("persistence"))

    grown = read()
    server.config_set("rdbcompression", "no")
    for start, running, fine in (
        (server.bgrewriteaof, "aof_rewrite_in_progress", "aof_last_bgrewrite_status"),
        (server.bgsave, "rdb_bgsave_in_progress", "rdb_last_bgsave_status"),
    ):
        start()
        wait_for(lambda running=running: not state()[running], seconds=20)  # type: ignore[misc]
        assert state()[fine] == "ok"
    return grown + read()


class Play:
    """What people do with keys, rightly and wrongly, and the answers that are not for the eyes of who sent the key."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ada, self.sam = person("Ada"), person("Sam", is_staff=True)
        self.project = Project.objects.for_member(self.ada)[0]
        self.clients = {user: client_of(user) for user in (self.ada, self.sam)}
        for client in self.clients.values():
            client.raise_request_exception = False
        self.answers: list[tuple[str, str]] = []
        self.unknown: list[str] = []

    def ask(self, path: str, **request: Any) -> Reply:
        """A refusal under /v1 and /api is read by programs, which write it into logs of their own."""
        answer = ask(self.stage.url, path, **request)
        if answer.status >= 400 and path.startswith(("/v1/", "/api/")):
            self.answers.append(("refusal", answer.body.decode()))
        return answer

    def run(self) -> list[str]:
        """Returns every secret there was."""
        key, secret = mint_key(project=self.project, name="laptop", by=self.ada)
        account = open_service_account(project=self.project, name="nightly", by=self.ada)
        _service, service = mint_key(project=self.project, name="nightly", by=self.ada, service_account=account)
        _scripts, management = mint_management_key(owner=self.ada, name="scripts")
        printed = io.StringIO()
        call_command("issue_key", email=self.ada.email, stdout=printed)
        issued = printed.getvalue().strip()
        renewed = rotate_key(key=key, overlap=timedelta(hours=1), by=self.ada)
        secrets = [secret, service, management, issued, renewed, *self.made_otherwise(management)]
        for one in secrets:
            self.use(one)
        for one in (service, management, renewed):
            self.misuse(one)
            self.fail_with(one)
        retire_secret(secret=key.secrets.exclude(valid_until=None).get(), by=self.ada)
        self.change_in_admin(ApiKey.objects.behind(renewed).get())
        self.report(page=service, api=issued, hub=secrets[-1])
        revoke_key(key=key, by=self.ada)
        left = range(MANY - len(secrets))
        return secrets + [mint_key(project=self.project, name="one of many", by=self.ada)[1] for _number in left]

    def made_otherwise(self, management: str) -> list[str]:
        """Keys read off the pages and the answers that show them this once."""
        pages = [
            self.clients[self.ada].post("/keys/new/", {"name": "by hand"}),
            self.clients[self.ada].post("/keys/management/new/", {"name": "by hand"}),
        ]
        as_program = {"secret": management, "body": {"name": "by a program"}}
        made = self.ask("/api/keys/", **as_program)
        rotated = self.ask(f"/api/keys/{made.json['id']}/rotate/", **as_program)
        shown = [page.content for page in pages] + [made.body, rotated.body]
        return [find_keys(text.decode())[0] for text in shown]

    def use(self, secret: str) -> None:
        ask = self.ask
        ask("/v1/chat/completions", secret=secret, body={"model": "fake-chat", "messages": chat()})
        for path in ("/v1/models", "/v1/organization/projects", "/api/keys/"):
            ask(path, method="GET", secret=secret)

    def misuse(self, secret: str) -> None:
        """Where people put a key by mistake."""
        ask, ada = self.ask, self.clients[self.ada]
        in_query = ask(f"/v1/models?api_key={secret}", method="GET")
        assert in_query.status == 401
        basic = base64.b64encode(f"ada:{secret}".encode()).decode()
        for headers in (
            {"X-Api-Key": secret},
            {"Authorization": secret},
            {"Authorization": f"Basic {basic}"},
            {"Authorization": f"Bearer {secret} {secret}"},
            {"Cookie": f"sessionid={secret}; language={secret}"},
            {"X-Request-Id": secret, "Referer": f"https://example.com/{secret}", "User-Agent": secret},
        ):
            for path in ("/v1/models", "/api/keys/", "/keys/"):
                ask(path, method="GET", headers=headers)
        for path in (f"/v1/{secret}", f"/{secret}/", f"/docs/?key={secret}", f"/search/?q={secret}", f"/api/{secret}/"):
            ask(path, method="GET")
        ask("/v1/chat/completions", secret=secret, body={"model": secret, "messages": chat()})
        ask("/v1/chat/completions", secret=secret, body=f'{{"key": "{secret}"'.encode())
        ask("/v1/chat/completions", secret=secret[:-1], body={"model": "fake-chat", "messages": chat()})
        ask(
            "/v1/chat/completions", secret=secret, body={"model": "fake-chat", "messages": chat(secret), "user": secret}
        )
        ask("/api/keys/", secret=secret, body={"name": [secret], "description": secret, secret: secret})
        ask("/accounts/login/", body=f"login={secret}".encode())
        for path, query in (("/search/", "q"), ("/forum/", "q"), ("/usage/", "key"), ("/keys/", "q")):
            ada.get(path, {query: secret})
        ada.get(f"/{secret}/")
        ada.post("/settings/", {"name": secret, "language": "en"})
        ada.post("/forum/ask/", {"title": "Why is this key refused?", "text": f"Here it is in full: {secret}"})
        ada.post("/forum/preview/", {"text": secret})
        Client().post("/accounts/login/", {"login": self.ada.email, "password": secret})
        Client().post("/accounts/login/", {"login": f"{secret}@example.com", "password": "wrong"})
        for what in ("by", "target", "action"):
            self.clients[self.sam].get("/audit/", {what: secret})
            ada.get(f"/organizations/{self.project.organization.public_id}/audit/", {what: secret})
        logging.getLogger("a.library").warning("it failed with %s", secret)
        try:
            raise ValueError(secret)
        except ValueError:
            logging.getLogger("a.library").exception("and with a traceback")

    def fail_with(self, secret: str) -> None:
        """What fails while a key is in hand: a table is gone, so that each of these ends in a traceback."""
        ask, failed = self.ask, []
        with without_table("apikeys_keysecret"):
            for path, kind in (
                ("/v1/models", "project"),
                ("/v1/organization/costs", "management"),
                ("/api/", "management"),
            ):
                # One that no process has seen, so that it is looked for.
                self.unknown.append(new_secret(kind))
                failed.append(ask(path, method="GET", secret=self.unknown[-1]))
            failed.append(ask("/api/leaks/", body={"key": secret, "found_at": secret}))
            pages = [
                self.clients[self.ada].post("/forum/ask/", {"title": "It fails with a key", "text": f"This: {secret}"}),
                Client(raise_request_exception=False).post("/keys/found/", {"text": secret, "found_at": secret}),
            ]
        with without_table("search_searchdocument"):
            failed.append(ask(f"/search/?q={secret}", method="GET"))
            pages.append(self.clients[self.ada].get("/search/", {"q": secret}))
        assert {answer.status for answer in failed} <= {500, 503}
        assert {page.status_code for page in pages} == {500}
        self.answers += [("failure", answer.body.decode()) for answer in failed]
        self.answers += [("failure", page.content.decode()) for page in pages]

    def report(self, *, page: str, api: str, hub: str) -> None:
        """The ways to say that a key was found."""
        said = {"text": f"export KEY={page}", "found_at": f"https://example.org/{page}"}
        assert Client().post("/keys/found/", said).status_code == 302
        assert self.ask("/api/leaks/", body={"key": api, "found_at": api}).status == 202
        body = f'[{{"token": "{hub}", "type": "lyceum_api_key", "url": "https://example.org/{hub}"}}]'.encode()
        signed = self.stage.hub.signed("first", body)
        assert self.ask("/keys/found/github/", body=body, headers=signed).status == 200

    def change_in_admin(self, key: ApiKey) -> None:
        staff, address = self.clients[self.sam], f"/admin/apikeys/apikey/{key.pk}"
        assert staff.get(f"{address}/change/").status_code == 200
        staff.post(f"{address}/change/", {"name": "renamed"})
        staff.post("/admin/apikeys/apikey/", {"action": "revoke", "_selected_action": [key.pk]})

    def look_back(self) -> None:
        """The pages on which people read of it afterwards."""
        own = self.project.organization.public_id
        seen = [(self.sam, "/audit/"), (self.sam, "/admin/")]
        seen += [(self.sam, f"/admin/apikeys/apikey/{key.pk}/history/") for key in ApiKey.objects.all()[:20]]
        seen += [(self.ada, f"/api/audit/events/?organization={own}"), (self.ada, f"/organizations/{own}/audit/")]
        seen += [(self.ada, "/keys/"), (self.ada, "/keys/management/"), (self.ada, "/notifications/")]
        for user, address in seen:
            answer = self.clients[user].get(address)
            assert answer.status_code == 200, address
            self.answers.append((address, answer.content.decode()))


@contextmanager
def without_table(name: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {name} RENAME TO gone")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE gone RENAME TO {name}")


def test_it_works(stage: Stage, log: io.StringIO, settings: LazySettings) -> None:
    settings.EMAIL_BACKEND = "accounts.mail.KeptMailBackend"
    wait_for(lambda: is_up(stage), seconds=START_SECONDS)
    play = Play(stage)
    create_endpoint(
        organization=play.project.organization,
        url=stage.told.url,
        description="",
        event_types=["key.leaked", "key.revoked"],
        by=play.ada,
    )
    secrets = play.run()
    drain()
    deliver_due()
    send_waiting()
    play.look_back()

    places = [*rows(), *kept_in_redis(), *files_of(stage.redis), *play.answers]
    places += [("mail", str(message.message())) for message in mail.outbox]
    places += [("webhook", f"{one.headers} {one.body!r}") for one in stage.told.received]
    places += spooled(stage, secrets[-1])
    places += [("log", log.getvalue()), ("log of processes", stage.output.read_text())]

    kinds = {place for place, _text in places}
    # What was looked through is what there is.
    tables = {"apikeys_apikey", "accounts_auditevent", "accounts_keptmail", "usage_usageevent", "webhooks_message"}
    assert tables | {"failure", "refusal", "webhook", ".aof", ".rdb", "spool", "session"} <= kinds
    assert any(".tasks." in text for place, text in places if place == ".aof"), "Celery's messages went by"
    # And what may stand there is found there.
    assert any("nightly" in text for place, text in places if place == "accounts_auditevent")
    assert "it failed with lyc_…" in log.getvalue()
    assert "ProgrammingError" in log.getvalue()
    assert "ProgrammingError" in stage.output.read_text()
    assert settings.ADMINS == [], "nobody is mailed a traceback with all that was sent"
    assert len(set(secrets)) == MANY
    assert found([*secrets, *play.unknown], places) == []


def is_up(stage: Stage) -> bool:
    try:
        return ask(stage.url, "/livez", method="GET").status == 200
    except OSError:
        return False


def spooled(stage: Stage, secret: str) -> list[tuple[str, str]]:
    """What is written to the disk for a call that ends while Redis is away. Redis does not come back."""
    body = {"model": "fake-chat", "messages": chat(), "stream": True, "fake": {"tokens": 20, "rate": 20}}
    with ThreadPoolExecutor() as pool:
        call = pool.submit(ask, stage.url, "/v1/chat/completions", secret=secret, body=body)
        wait_for(lambda: any(stage.redis.scan_iter("ly:*}:leases")))
        stage.redis.shutdown(nosave=True)
        call.result()
    wait_for(lambda: any((stage.var / "spool").glob("*.jsonl")))
    return [("spool", file.read_text()) for file in (stage.var / "spool").iterdir()]

"""After everything that is done with keys, no secret stands in the database, in Redis, in mail or in a log line."""

import io
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import LazySettings, settings
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.test import Client
from psycopg import sql

from accounts.models import Organization, Project, User
from accounts.projects.services import open_service_account
from apikeys.models import ApiKey
from apikeys.services import mint_key, mint_management_key, retire_secret, revoke_key, rotate_key
from apikeys.verification import find_keys
from catalog.models import Backend, Deployment, HostedModel
from notifications.services import send_waiting
from tests.conftest import client_of, person
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import ask, chat, serving
from usage.ingest import drain

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the portal writes to its log, as it writes it."""
    root, written = logging.getLogger(), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for known in root.handlers:
        if type(known) is logging.StreamHandler and known.formatter:
            handler.setFormatter(known.formatter)
    root.addHandler(handler)
    yield written
    root.removeHandler(handler)


@pytest.fixture
def gateway() -> Iterator[str]:
    from gateway.asgi import application

    with FakeInferenceServer() as fake:
        backend = Backend.objects.create(name="gw-fake", base_url=fake.base_url, kind="vllm")
        model = HostedModel.objects.create(public_name="fake-chat")
        Deployment.objects.create(hosted_model=model, backend=backend, backend_name="fake-chat")
        with serving(application) as address:
            yield address


def rows() -> Iterator[tuple[str, str]]:
    """Every row of every table, as text."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(table)))
            yield from ((table, row) for (row,) in cursor.fetchall())
    # Stored packed, and so not to be read above.
    yield from (("session", str(session.get_decoded())) for session in Session.objects.all())


def kept_in_redis() -> Iterator[tuple[str, str]]:
    """Every key and every value of both servers: caches, limits, streams, and Celery's messages."""
    for url in {settings.REDIS_URL, settings.REDIS_VOLATILE_URL}:
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
                yield str(name), f"{name!r} {readers[kind](name)!r}"
        server.close()


def celery_messages() -> Iterator[str]:
    return (value for name, value in kept_in_redis() if "celery" in name)


def play(gateway: str, ada: User, sam: User, project: Project) -> list[str]:
    """What people do with keys, rightly and wrongly. Returns every secret there was."""
    key, secret = mint_key(project=project, name="laptop", by=ada)
    account = open_service_account(project=project, name="nightly", by=ada)
    _service, service = mint_key(project=project, name="nightly", by=ada, service_account=account)
    _scripts, management = mint_management_key(owner=ada, name="scripts")
    printed = io.StringIO()
    call_command("issue_key", email=ada.email, stdout=printed)
    issued = printed.getvalue().strip()
    made = mint_on_the_page(ada)
    renewed = rotate_key(key=key, overlap=timedelta(hours=1), by=ada)
    secrets = [secret, service, management, issued, made, renewed]

    for one in secrets:
        use(gateway, one)
        misuse(gateway, ada, one)
    retire_secret(secret=key.secrets.exclude(valid_until=None).get(), by=ada)
    change_in_admin(sam, ApiKey.objects.behind(renewed).get())
    for one in (service, management):
        report = {"text": f"export KEY={one}", "found_at": f"https://example.org/{one}"}
        assert Client().post("/keys/found/", report).status_code == 302
    body = {"key": issued, "found_at": issued}
    assert Client().post("/api/leaks/", body, content_type="application/json").status_code == 202
    revoke_key(key=key, by=ada)
    return secrets


def mint_on_the_page(ada: User) -> str:
    """A key made on the page, read off it."""
    page = client_of(ada).post("/keys/new/", {"name": "by hand"})
    return find_keys(page.content.decode())[0]


def use(gateway: str, secret: str) -> None:
    ask(gateway, "/chat/completions", secret=secret, body={"model": "fake-chat", "messages": chat()})
    ask(gateway, "/models", method="GET", secret=secret)
    Client().get("/api/keys/", headers={"authorization": f"Bearer {secret}"})


def misuse(gateway: str, ada: User, secret: str) -> None:
    """Where people put a key by mistake, and what fails while it is in hand."""
    ask(gateway, f"/models?api_key={secret}", method="GET")
    ask(gateway, f"/{secret}", method="GET")
    ask(gateway, "/chat/completions", secret=secret, body={"model": secret, "messages": chat()})
    ask(gateway, "/chat/completions", secret=secret, body=f'{{"key": "{secret}"'.encode())
    ask(gateway, "/chat/completions", secret=secret[:-1], body={"model": "fake-chat", "messages": chat()})
    client = client_of(ada)
    client.get(f"/{secret}/")
    client.get("/docs/", {"key": secret})
    client.get("/search/", {"q": secret})
    client.get("/forum/", {"q": secret})
    client.get(f"/api/{secret}/")
    client.post("/settings/", {"name": secret, "language": "en"})
    client.post("/forum/ask/", {"title": "Why is this key refused?", "text": f"Here it is in full: {secret}"})
    Client().post("/accounts/login/", {"login": ada.email, "password": secret})
    Client().post("/accounts/login/", {"login": f"{secret}@example.com", "password": "wrong"})
    logging.getLogger("a.library").warning("it failed with %s", secret)
    try:
        raise ValueError(secret)
    except ValueError:
        logging.getLogger("a.library").exception("and with a traceback")


def change_in_admin(sam: User, key: ApiKey) -> None:
    staff = client_of(sam)
    page = staff.get(f"/admin/apikeys/apikey/{key.pk}/change/")
    assert page.status_code == 200
    staff.post(f"/admin/apikeys/apikey/{key.pk}/change/", {"name": "renamed"})
    staff.post("/admin/apikeys/apikey/", {"action": "revoke", "_selected_action": [key.pk]})


def test_it_works(gateway: str, log: io.StringIO, settings: LazySettings) -> None:
    settings.EMAIL_BACKEND = "accounts.mail.KeptMailBackend"
    ada, sam = person("Ada"), person("Sam", is_staff=True)
    project = Project.objects.for_member(ada)[0]
    secrets = play(gateway, ada, sam, project)
    drain()
    queued = list(celery_messages())
    send_waiting()

    places = [*rows(), *kept_in_redis(), *(("mail", str(message.message())) for message in mail.outbox)]
    places += [("queue", message) for message in queued] + [("log", line) for line in log.getvalue().splitlines()]
    tables = {place for place, _text in places}
    # What was looked through is what there is: rows of every kind that keys leave, mail, messages and log lines.
    assert queued
    assert {"apikeys_apikey", "accounts_auditevent", "accounts_keptmail", "usage_usageevent", "log"} <= tables
    # And what may stand there is found there.
    assert any("nightly" in text for place, text in places if place == "accounts_auditevent")
    assert "it failed with lyc_…" in log.getvalue()
    assert len(set(secrets)) == 6
    for secret in secrets:
        payload = secret.partition("_")[2]
        # The payload alone opens nothing without its prefix, which is no secret.
        found = sorted({place for place, text in places if payload in text})
        assert found == [], [text for place, text in places if payload in text][:3]
    assert Organization.objects.filter(projects=project).exists()

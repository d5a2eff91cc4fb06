"""A gateway on a real port before a fake inference server; keys and models committed, so that its threads see them."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import openai
import pytest
import uvicorn
from django.conf import settings
from django.db import connection, transaction
from pytest_django.plugin import DjangoDbBlocker

from accounts.models import AuditEvent, AuditOrigin, AuditSeal, Organization, Project, User
from accounts.services import open_workspace
from apikeys.services import mint_key
from apikeys.terms import Terms
from catalog.models import Backend, Deployment, HostedModel
from common import redis
from common.ids import new_id
from inference.uses import Use
from portal.embedded.program import free_port
from tests.fakes.inference_server import FakeInferenceServer
from tests.fakes.ports import refusing_port
from usage.ingest import drain
from usage.models import ROLLUPS, CreditDraw, CreditGrant, CreditRevocation, UsageEvent

MILLION = 1_000_000
# Long enough for a web process on a machine that does much else meanwhile.
START_SECONDS = 300

Host = Callable[..., str]
Asked = Callable[[], list[int]]


@dataclass(frozen=True)
class Stage:
    """What every test of the gateway plays on."""

    project: Project
    ada: User


@pytest.fixture(autouse=True)
def db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The database without a transaction around the test, which would hide its rows from the gateway's threads."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeInferenceServer]:
    with FakeInferenceServer() as server:
        yield server


@pytest.fixture(scope="module")
def stage(fake: FakeInferenceServer, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Stage]:
    """Ada's project, and models on backends that live, and on one that does not."""
    with django_db_blocker.unblock(), refusing_port() as nobodys:
        ada = User.objects.create_user("ada@gateway.example", name="Ada")
        project = open_workspace(user=ada)
        living = Backend.objects.create(name="gw-fake", base_url=fake.base_url, kind="vllm", credential="sesame")
        plain = Backend.objects.create(name="gw-plain", base_url=fake.base_url, kind="openai")
        llama = Backend.objects.create(name="gw-llama", base_url=fake.base_url, kind="llama.cpp")
        ollama = Backend.objects.create(name="gw-ollama", base_url=fake.base_url, kind="ollama")
        dead = Backend.objects.create(name="gw-dead", base_url=f"http://127.0.0.1:{nobodys}/v1", is_healthy=True)
        _host("fake-chat", living)
        _host("plain-chat", plain)
        _host("llama-chat", llama, context_window=1000)
        _host("ollama-chat", ollama)
        _host("dead-chat", dead)
        _host("lab/slashed", living, backend_name="slashed")
        _host("renamed", living, backend_name="/srv/models/secret-path")
        _host("paid-chat", living, input_price_nano=1 * MILLION, output_price_nano=10 * MILLION)
        _host("fake-embed", living, uses=["embeddings"])
        _host("paid-embed", living, uses=["embeddings"], input_price_nano=MILLION, output_price_nano=10 * MILLION)
        _host("fake-all", living, uses=list(Use), backend_name="inside/all")
        _host("paid-all", living, uses=list(Use), input_price_nano=MILLION, output_price_nano=10 * MILLION)
        twin = _host("twin", dead)
        Deployment.objects.create(hosted_model=twin, backend=living, backend_name="twin")
        pair = _host("pair", living)
        Deployment.objects.create(hosted_model=pair, backend=plain, backend_name="pair")
        yield Stage(project=project, ada=ada)
        HostedModel.objects.all().delete()
        Backend.objects.all().delete()
        Organization.objects.filter(projects=project).delete()
        ada.delete()
        UsageEvent.objects.all().delete()
        for table in ROLLUPS:
            table.objects.all().delete()
        with connection.cursor() as cursor:
            # Its rows are not for deleting one by one.
            models = (AuditEvent, AuditSeal, AuditOrigin, CreditGrant, CreditRevocation, CreditDraw)
            cursor.execute(f"TRUNCATE {', '.join(model._meta.db_table for model in models)}")


def _host(name: str, backend: Backend, *, backend_name: str = "", **fields: Any) -> HostedModel:
    model = HostedModel.objects.create(public_name=name, **fields)
    Deployment.objects.create(hosted_model=model, backend=backend, backend_name=backend_name or name)
    return model


@contextmanager
def serving(application: Any) -> Iterator[str]:
    """Serve an ASGI application with uvicorn in a thread; gives its base URL for an SDK."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http="gateway.connections:Connection",
        lifespan="on",
        log_config=None,
        access_log=False,
        # It would believe what a caller on this machine says of its own address.
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True, name="gateway")
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    # Its listener is open already: what asks a server that did not start would wait for ever.
    assert server.started
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def url(stage: Stage) -> Iterator[str]:
    """The base URL of a running gateway."""
    from gateway.asgi import application

    with serving(application) as address:
        yield address


@pytest.fixture
def mint(stage: Stage) -> Callable[..., str]:
    """Makes keys of Ada's project: `mint(requests_per_minute=5)` gives the secret."""

    def make(**terms: Any) -> str:
        return mint_key(project=stage.project, name="test", by=stage.ada, terms=Terms(**terms))[1]

    return make


@pytest.fixture
def secret(mint: Callable[..., str]) -> str:
    """A key without limits."""
    return mint()


@pytest.fixture
def client(url: str, secret: str) -> Iterator[openai.OpenAI]:
    """OpenAI's SDK as a customer sets it up, but without its retries."""
    with openai.OpenAI(base_url=url, api_key=secret, max_retries=0, timeout=20) as sdk:
        yield sdk


@pytest.fixture
def event_of() -> Callable[[str], UsageEvent]:
    """Waits for the ledger's row of a request."""

    def wait(request_id: str) -> UsageEvent:
        deadline = time.monotonic() + 5
        while True:
            drain()
            event = UsageEvent.objects.filter(request_id=request_id).first()
            if event is not None:
                return event
            assert time.monotonic() < deadline, f"{request_id} was not metered"
            time.sleep(0.02)

    return wait


@contextmanager
def web_process(
    var: Path,
    *,
    application: str = "gateway.asgi:application",
    port: int = 0,
    arguments: Sequence[str] = (),
    **changed: str,
) -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    """The base URL and the process of a web process of its own. `changed` are variables of its environment."""
    database, port = connection.settings_dict, port or free_port()
    place = f"{database['HOST']}:{database['PORT'] or 5432}/{database['NAME']}"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "DATABASE_URL": f"postgres://{database['USER']}:{database['PASSWORD']}@{place}",
        "REDIS_URL": settings.REDIS_URL,
        "LYCEUM_VAR": str(var),
        "GATEWAY_CONNECT_TIMEOUT_SECONDS": str(settings.GATEWAY_CONNECT_TIMEOUT_SECONDS),
        **changed,
    }
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port), "--no-access-log", *arguments]
    process = subprocess.Popen([*command, "--log-level", "warning"], cwd=settings.BASE_DIR, env=environment)
    try:
        yield f"http://127.0.0.1:{port}/v1", process
    finally:
        process.kill()
        process.wait()


def is_there(url: str) -> bool:
    """Whether a gateway answers, if only that it wants a key."""
    try:
        return ask(url, "/models", method="GET").status == 401
    except OSError:
        return False


@pytest.fixture(scope="module")
def servers() -> Iterator[list[FakeInferenceServer]]:
    with ExitStack() as running:
        yield [running.enter_context(FakeInferenceServer()) for _number in range(3)]


@pytest.fixture
def host(servers: list[FakeInferenceServer], url: str, secret: str) -> Iterator[Host]:
    """Hosts a new model: `host({"weight": 3}, {})` on the first server and the second. Gives its name."""
    names: list[str] = []

    def on(*deployments: dict[str, Any], **fields: Any) -> str:
        name = new_id("model")
        names.append(name)
        # In one transaction: a gateway that reads half of it would know half of it for a moment.
        with transaction.atomic():
            model = HostedModel.objects.create(public_name=name, **fields)
            for number, told in enumerate(deployments):
                address = {"base_url": servers[number].base_url, "is_healthy": True}
                address |= {field: told.pop(field) for field in address if field in told}
                backend = Backend.objects.create(name=f"{name}-{number}", **address)
                Deployment.objects.create(hosted_model=model, backend=backend, **{"backend_name": name, **told})
        wait_until_known(url, secret, name)
        return name

    yield on
    Backend.objects.filter(deployments__hosted_model__public_name__in=names).delete()
    HostedModel.objects.filter(public_name__in=names).delete()


def wait_until_known(url: str, secret: str, name: str) -> None:
    """Wait until a gateway has heard of a name: one that it did not find it looks up again a second later."""

    def is_known() -> bool:
        reply = ask(url, f"/models/{name}", method="GET", secret=secret)
        return reply.status == 200 or "does not exist" not in reply.error["message"]

    wait_for(is_known)


@pytest.fixture
def deaf() -> Iterator[str]:
    """The base URL of a machine that answers no attempt to connect."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        # A full queue of connections that nobody takes: the kernel drops what else comes.
        for _number in range(2):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


@pytest.fixture
def asked(servers: list[FakeInferenceServer]) -> Asked:
    """How many calls each server was asked since the test began."""
    before = [server.ledger.requests for server in servers]
    return lambda: [server.ledger.requests - was for server, was in zip(servers, before, strict=True)]


def wait_for(condition: Callable[[], bool], *, seconds: float = 5.0) -> float:
    """Seconds until `condition` came true; fails after `seconds`."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.005)
    return time.monotonic() - started


@dataclass(frozen=True)
class Reply:
    """An HTTP answer as it came."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, which has OpenAI's four keys, and where a limit refused what that is."""
        assert self.headers["content-type"] == "application/json"
        assert self.headers["x-request-id"].startswith("req_")
        error: dict[str, Any] = self.json["error"]
        expected = {"message", "type", "param", "code"}
        assert set(error) - {"limit"} == expected
        return error


def ask(
    url: str,
    path: str,
    *,
    method: str = "POST",
    secret: str = "",
    headers: dict[str, str] | None = None,
    body: Any = None,
    timeout: float = 20,
) -> Reply:
    """One request by plain HTTP. `body` is sent as JSON, or as it is when it is bytes."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    given = {
        "Content-Type": "application/json",
        **({"Authorization": f"Bearer {secret}"} if secret else {}),
        **(headers or {}),
    }
    try:
        connection.request(method, f"{parts.path}{path}", body=sent, headers=given)
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def chat(text: Any = "one two three") -> list[Any]:
    """Messages of three words."""
    return [{"role": "user", "content": text}]


def admitted(stage: Stage) -> int:
    """How many calls are under way or wait."""
    leases = f"ly:{{{stage.project.organization.public_id}}}:leases"
    return cast(int, redis.durable().zcard(leases))


@contextmanager
def begun(
    url: str, secret: str, told: dict[str, Any], *, text: str = "one two three", **fields: Any
) -> Iterator[http.client.HTTPConnection]:
    """A call that is made, and hung up on at the end of the block."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    body = json.dumps({"model": "paid-chat", "messages": chat(text), "fake": told, **fields})
    connection.request("POST", "/v1/chat/completions", body=body, headers={"Authorization": f"Bearer {secret}"})
    sock = connection.sock
    try:
        yield connection
    finally:
        # A response that holds the file open would keep the socket, too.
        sock.shutdown(socket.SHUT_RDWR)
        connection.close()


def words_read(response: http.client.HTTPResponse, number: int) -> None:
    """Read a stream until so many words came."""
    seen = 0
    while seen < number:
        seen += response.readline().count(b"word ")

"""/livez and /readyz, over real stores; a part that is frozen is one that accepts and never answers."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
from django.conf import LazySettings
from django.db import connections
from django.utils import timezone
from starlette.testclient import TestClient

from catalog.models import Backend
from common.redis import durable
from portal.celery import QUEUES
from portal.health import STALE_SECONDS, application, note_consumed
from tests import services

pytestmark = pytest.mark.django_db(transaction=True)


class Models(BaseHTTPRequestHandler):
    """An inference server as far as health looks at one."""

    asked_with: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked_with.append(self.headers.get("authorization", ""))
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.end_headers()
        self.wfile.write(b'{"object": "list", "data": []}')

    def log_message(self, *args: object) -> None:
        """Nothing: test output is for failures."""


@pytest.fixture
def model_url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Models)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture
def frozen_port() -> Iterator[int]:
    """A port that accepts connections, and that is all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def workers() -> None:
    durable().flushdb()
    services.open_budgets()
    for queue in QUEUES:
        note_consumed(queue)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(application) as made:
        yield made


def wrong(client: TestClient) -> dict[str, str]:
    """What /readyz names, after asserting that its status agrees and that it took no longer than it may."""
    began = time.monotonic()
    response = client.get("/readyz")
    assert time.monotonic() - began < 2
    parts: dict[str, dict[str, Any]] = response.json()["parts"]
    named = {name: part["detail"] for name, part in parts.items() if not part["ok"]}
    assert response.status_code == (503 if named else 200)
    assert response.json()["status"] == ("not ready" if named else "ready")
    return named


def test_it_works(client: TestClient, workers: None, model_url: str) -> None:
    Backend.objects.create(name="one", base_url=model_url, credential="sk-of-the-backend")
    assert wrong(client) == {}
    assert Models.asked_with[-1] == "Bearer sk-of-the-backend"


def test_a_backend_known_to_serve_is_not_asked_again(client: TestClient, workers: None, model_url: str) -> None:
    Backend.objects.create(name="one", base_url=model_url, is_healthy=True, checked_at=timezone.now())
    before = len(Models.asked_with)
    assert wrong(client) == {}
    assert len(Models.asked_with) == before


def test_what_was_known_long_ago_is_asked_again(client: TestClient, workers: None) -> None:
    yesterday = timezone.now() - timedelta(days=1)
    Backend.objects.create(name="gone", base_url="http://127.0.0.1:1/v1", is_healthy=True, checked_at=yesterday)
    assert wrong(client) == {"model": "no backend answers"}


def test_a_server_that_answers_with_a_refusal_is_no_model(client: TestClient, workers: None, model_url: str) -> None:
    Backend.objects.create(name="one", base_url=f"{model_url}/elsewhere")
    assert wrong(client) == {"model": "no backend answers"}


def test_livez_needs_nothing() -> None:
    response = TestClient(application).get("/livez")
    assert (response.status_code, response.text) == (200, "ok\n")


def test_each_queue_needs_a_worker(client: TestClient, workers: None, model_url: str) -> None:
    Backend.objects.create(name="one", base_url=model_url)
    durable().delete("ly:health:consumed:inference")
    durable().pexpire("ly:health:consumed:usage", int(60_000 - (STALE_SECONDS + 3) * 1000))
    assert wrong(client) == {
        "worker_inference": "no worker has consumed this queue in the last minute",
        "worker_usage": f"no worker has consumed this queue for {STALE_SECONDS + 3:.0f} s",
    }


def test_without_a_backend_no_model_answers(client: TestClient, workers: None) -> None:
    assert wrong(client) == {"model": "no backend is connected"}


def test_a_backend_that_is_gone_is_no_model(client: TestClient, workers: None) -> None:
    Backend.objects.create(name="gone", base_url="http://127.0.0.1:1/v1")
    assert wrong(client) == {"model": "no backend answers"}


def test_a_backend_that_is_switched_off_is_not_asked(client: TestClient, workers: None, model_url: str) -> None:
    Backend.objects.create(name="off", base_url=model_url, is_enabled=False)
    assert wrong(client) == {"model": "no backend is connected"}


def test_a_frozen_backend_is_bounded(client: TestClient, workers: None, frozen_port: int) -> None:
    Backend.objects.create(name="frozen", base_url=f"http://127.0.0.1:{frozen_port}/v1")
    assert wrong(client) == {"model": "no backend answers"}


def test_one_backend_that_answers_is_enough(
    client: TestClient, workers: None, frozen_port: int, model_url: str
) -> None:
    Backend.objects.create(name="frozen", base_url=f"http://127.0.0.1:{frozen_port}/v1")
    Backend.objects.create(name="one", base_url=model_url)
    assert wrong(client) == {}


@contextmanager
def database_at(port: int) -> Iterator[None]:
    database = connections.settings["default"]
    before = database["PORT"]
    database["PORT"] = port
    try:
        yield
    finally:
        database["PORT"] = before


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "gone"])
def test_postgresql_that_does_not_answer_is_named(
    client: TestClient, workers: None, frozen_port: int, frozen: bool
) -> None:
    with database_at(frozen_port if frozen else 1):
        said = "no answer in 1.5 s" if frozen else "does not answer"
        assert wrong(client) == {"postgresql": said, "model": said}


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "gone"])
def test_redis_that_does_not_answer_is_named(
    workers: None, settings: LazySettings, model_url: str, frozen: bool
) -> None:
    Backend.objects.create(name="one", base_url=model_url)
    with services.running_redis(durable=False) as (url, server):
        settings.REDIS_VOLATILE_URL = url
        with TestClient(application) as client:
            assert wrong(client) == {}
            server.process.send_signal(signal.SIGSTOP if frozen else signal.SIGKILL)
            time.sleep(0.6)  # longer than one look is shared
            assert wrong(client) == {"redis_volatile": "no answer in 1.5 s" if frozen else "does not answer"}
            server.process.send_signal(signal.SIGCONT)

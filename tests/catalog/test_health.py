import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks
from structlog.testing import capture_logs

from accounts.models import User
from catalog.models import Backend, Fault, HostedModel
from catalog.services import check_backends
from catalog.tasks import check_backends as task
from notifications.models import Notification
from notifications.texts import tell
from tests.catalog.servers import Server, openai
from tests.catalog.test_routing import break_credential

pytestmark = pytest.mark.django_db
Serve = Callable[..., Server]


def add(server: Server, name: str = "gpu-1") -> Backend:
    return Backend.objects.create(name=name, base_url=server.base_url, credential=server.key)


def test_it_works(serve: Serve) -> None:
    add(serve(openai("a"), key="sk-1"))
    task()
    backend = Backend.objects.get()
    assert (backend.is_healthy, backend.fault) == (True, "")
    assert backend.latency_ms is not None
    assert backend.checked_at is not None


def test_each_fault_is_told(serve: Serve) -> None:
    Backend.objects.create(name="refuses", base_url=serve(openai("a"), key="sk-1").base_url)
    add(serve({"/v1/models": (503, {})}), "loading")
    Backend.objects.create(name="gone", base_url="http://127.0.0.1:9/v1")
    Backend.objects.create(name="unreadable", base_url="http://127.0.0.1:9/v1", credential="sk-1")
    break_credential("unreadable")
    check_backends()
    assert dict(Backend.objects.values_list("name", "fault")) == {
        "refuses": Fault.UNAUTHORIZED,
        "loading": Fault.ERROR_STATUS,
        "gone": Fault.REFUSED,
        "unreadable": Fault.UNDECRYPTABLE,
    }
    assert not Backend.objects.filter(is_healthy=True).exists()
    assert Backend.objects.get(name="loading").fault_in_words == "It answers with an error. (HTTP 503)"


def test_staff_are_told_once_of_a_credential_that_no_longer_decrypts(backend: Backend, ada: User, sam: User) -> None:
    break_credential("gpu-1")
    check_backends()
    check_backends()
    [row] = Notification.objects.all()
    assert (row.recipient, row.url, row.count) == (sam, "/backends/gpu-1/", 1)
    [told] = tell(sam, [row])
    assert "gpu-1 can no longer be decrypted" in told.text


def test_it_recovers(serve: Serve) -> None:
    server = serve({"/v1/models": (503, {})})
    add(server)
    check_backends()
    server.answers = openai("a")
    check_backends()
    backend = Backend.objects.get()
    assert (backend.is_healthy, backend.fault_in_words) == (True, "")


def test_one_that_hangs_delays_no_other(serve: Serve) -> None:
    hanging = serve(openai("a"))
    hanging.hold.clear()
    add(hanging, "hangs")
    for number in range(5):
        add(serve(openai("a")), f"gpu-{number}")
    check_backends(deadline_seconds=0.5)
    assert Backend.objects.get(is_healthy=False).fault == Fault.TIMEOUT
    assert Backend.objects.filter(is_healthy=True).count() == 5


def test_what_did_not_change_is_written_twice_a_minute(serve: Serve) -> None:
    add(serve(openai("a")))
    check_backends()
    first = Backend.objects.get().checked_at
    check_backends()
    assert Backend.objects.get().checked_at == first
    Backend.objects.update(checked_at=timezone.now() - timedelta(seconds=31))
    check_backends()
    again = Backend.objects.get().checked_at
    assert first
    assert again
    assert again > first


def test_a_turn_is_announced_and_nothing_else(
    serve: Serve, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    server = serve(openai("a"))
    add(server)
    for answers, announced in [(openai("a"), True), (openai("a"), False), ({}, True), ({}, False)]:
        server.answers = answers
        with django_capture_on_commit_callbacks() as announcements:
            check_backends()
        assert bool(announcements) is announced


def test_one_that_is_off_is_left_alone(serve: Serve) -> None:
    server = serve(openai("a"))
    add(server)
    Backend.objects.update(is_enabled=False)
    check_backends()
    assert server.asked == []


@pytest.mark.django_db(transaction=True)
def test_an_answer_for_an_address_that_was_changed_meanwhile_is_dropped(serve: Serve) -> None:
    server = serve(openai("a"))
    add(server)
    server.hold.clear()

    def check() -> None:
        check_backends()
        connection.close()

    checking = threading.Thread(target=check)
    checking.start()
    while not server.asked:
        time.sleep(0.005)
    Backend.objects.update(base_url="http://127.0.0.1:9/v1")
    server.hold.set()
    checking.join()
    assert Backend.objects.get().is_healthy is None


def test_no_log_holds_a_credential(serve: Serve, hosted_model: HostedModel, caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as logs:
        check_backends()
    assert [line["event"] for line in logs] == ["backend_health"]
    assert "sk-gpu-1" not in f"{logs}{caplog.text}"

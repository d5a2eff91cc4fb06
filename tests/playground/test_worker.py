"""Runs as a worker makes them: a real loop, a real metered client, and an inference server that does as it is told."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from accounts.models import Project, User
from catalog.models import Backend
from common.redis import durable, volatile
from playground import outcomes, services, streams
from playground.models import Run, RunStatus
from playground.worker import InferenceWorker
from tests.fakes.inference_server import FakeInferenceServer
from tests.playground.conftest import hosted
from tests.playground.servers import serving
from tests.services import open_budgets
from usage.admission import reap
from usage.ingest import drain
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)
MakeRun = Callable[..., Run]
WITHOUT_END = {"fake": {"tokens": 100_000, "rate": 100}}


@pytest.fixture
def fake() -> Iterator[FakeInferenceServer]:
    durable().flushdb()
    open_budgets()
    with FakeInferenceServer() as server:
        yield server


@pytest.fixture
def waiting(fake: FakeInferenceServer, ada: User, run_of: MakeRun) -> MakeRun:
    """Makes a run of Ada that waits for a worker, of a model the fake serves at $1 and $2 per million tokens."""
    backend = Backend.objects.create(name="fake", base_url=fake.base_url)
    hosted("fake-chat", backend=backend, input_price_nano=10**9, output_price_nano=2 * 10**9)

    def make(**parameters: Any) -> Run:
        return run_of(ada, status=RunStatus.PENDING, model_name="fake-chat", output="", parameters=parameters)

    return make


@pytest.fixture
def worker(waiting: MakeRun) -> Iterator[InferenceWorker]:
    worker = InferenceWorker(heartbeat_seconds=0.3, interrupt_after_seconds=0.1)
    yield worker
    worker.close()


def metered(request_id: str) -> UsageEvent:
    """The usage event of a call, as the ledger has it."""
    drain()
    return UsageEvent.objects.get(request_id=request_id)


def in_thread(worker: InferenceWorker, run: Run) -> threading.Thread:
    def execute() -> None:
        try:
            worker.execute(run.public_id)
        finally:
            connection.close()

    thread = threading.Thread(target=execute)
    thread.start()
    return thread


def eventually(condition: Callable[[], Any], *, within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def has_text(run: Run) -> bool:
    return bool(streams.text_so_far(run.public_id)[0])


def test_it_works(worker: InferenceWorker, waiting: MakeRun, fake: FakeInferenceServer) -> None:
    run = waiting(max_tokens=3)

    worker.execute(run.public_id)

    run.refresh_from_db()
    assert (run.status, run.output, run.finish_reason) == (RunStatus.SUCCEEDED, "word word word ", "stop")
    assert (run.prompt_tokens, run.completion_tokens, run.cost_nano) == (2, 3, 2 * 1000 + 3 * 2000)
    assert not run.is_estimated
    assert run.started_at
    assert run.first_token_at
    assert run.finished_at
    assert streams.text_so_far(run.public_id)[0] == run.output
    event = metered(run.request_id)
    assert (event.source, event.user_id, event.key_id) == ("playground", run.user.public_id, "")
    assert event.completion_tokens == 3


def test_a_project_that_ended_while_the_run_waited(worker: InferenceWorker, waiting: MakeRun) -> None:
    run = waiting()
    Project.objects.update(ends_at=timezone.now())
    worker.execute(run.public_id)
    run.refresh_from_db()
    assert (run.status, run.error_code, run.output) == (RunStatus.FAILED, outcomes.PROJECT_ENDED, "")


def test_the_first_piece_is_shown_while_the_rest_is_written(
    worker: InferenceWorker, waiting: MakeRun, fake: FakeInferenceServer
) -> None:
    run = waiting(**WITHOUT_END)

    thread = in_thread(worker, run)
    eventually(lambda: has_text(run))

    assert thread.is_alive()
    # A second, told by a clock that goes no faster than the machine.
    assert fake.last().sent_tokens <= 100
    services.request_stop(run=run)
    thread.join()


def test_a_stop_reaches_the_server_within_a_second_and_keeps_the_text(
    worker: InferenceWorker, waiting: MakeRun, fake: FakeInferenceServer
) -> None:
    run = waiting(**WITHOUT_END)
    thread = in_thread(worker, run)
    eventually(lambda: has_text(run))

    written = fake.last().sent_tokens
    services.request_stop(run=run)

    eventually(lambda: fake.last().closed_by == "client")
    # Told by a clock that goes no faster than the machine.
    assert fake.last().sent_tokens - written <= 100
    thread.join()
    run.refresh_from_db()
    assert run.status == RunStatus.STOPPED
    assert run.output.startswith("word ")
    assert run.completion_tokens
    assert run.is_estimated
    assert metered(run.request_id).status == 499


def test_a_stop_whose_message_is_lost_comes_with_the_heartbeat(
    worker: InferenceWorker, waiting: MakeRun, fake: FakeInferenceServer
) -> None:
    run = waiting(**WITHOUT_END)
    thread = in_thread(worker, run)
    eventually(lambda: has_text(run))

    Run.objects.filter(pk=run.pk).update(stop_requested_at=run.created_at)

    thread.join(timeout=8)
    assert fake.last().closed_by == "client"


def test_deleting_a_run_stops_it(worker: InferenceWorker, waiting: MakeRun, fake: FakeInferenceServer) -> None:
    run = waiting(**WITHOUT_END)
    thread = in_thread(worker, run)
    eventually(lambda: has_text(run))
    run.refresh_from_db()

    key = streams.key_of(run.public_id)
    services.delete_run(run=run)

    thread.join(timeout=5)
    assert fake.last().closed_by == "client"
    assert not Run.objects.exists()
    assert not volatile().exists(key)


def test_a_message_that_comes_twice_makes_one_call(
    worker: InferenceWorker, waiting: MakeRun, fake: FakeInferenceServer
) -> None:
    run = waiting(fake={"tokens": 5, "rate": 20})

    threads = [in_thread(worker, run) for _ in range(3)]
    for thread in threads:
        thread.join()
    worker.execute(run.public_id)

    assert fake.ledger.requests == 1


def test_a_server_that_breaks_off_leaves_what_it_wrote(worker: InferenceWorker, waiting: MakeRun) -> None:
    run = waiting(fake={"tokens": 9, "die_after": 4, "rate": 100})

    worker.execute(run.public_id)

    run.refresh_from_db()
    assert (run.status, run.output) == (RunStatus.FAILED, "word " * 4)
    assert run.error_code == outcomes.UPSTREAM
    assert metered(run.request_id).status == 502


def test_a_refusal_of_the_server_is_kept(worker: InferenceWorker, waiting: MakeRun) -> None:
    run = waiting(fake={"status": 400})

    worker.execute(run.public_id)

    run.refresh_from_db()
    assert run.status == RunStatus.FAILED
    assert run.error_message


def test_a_model_that_is_gone_is_said(worker: InferenceWorker, waiting: MakeRun) -> None:
    run = waiting()
    Run.objects.update(model_name="gone")

    worker.execute(run.public_id)

    run.refresh_from_db()
    assert (run.status, run.error_code) == (RunStatus.FAILED, "model_not_found")


def test_a_backend_that_is_down_is_said(worker: InferenceWorker, waiting: MakeRun, fake: FakeInferenceServer) -> None:
    run = waiting()
    fake.stop()

    worker.execute(run.public_id)

    run.refresh_from_db()
    assert run.status == RunStatus.FAILED
    assert run.error_code


def test_a_worker_told_to_stop_tells_its_runs(
    worker: InferenceWorker, waiting: MakeRun, fake: FakeInferenceServer
) -> None:
    run = waiting(**WITHOUT_END)
    thread = in_thread(worker, run)
    eventually(lambda: has_text(run))

    worker.interrupt_soon()

    thread.join(timeout=10)
    run.refresh_from_db()
    assert (run.status, run.error_code) == (RunStatus.FAILED, outcomes.WORKER_LOST)
    assert run.output.startswith("word ")


def test_a_run_of_a_killed_worker_is_failed_and_metered(waiting: MakeRun, fake: FakeInferenceServer) -> None:
    run = waiting(**WITHOUT_END)
    database = connection.settings_dict["NAME"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "portal", "worker", "-Q", "inference", "-P", "threads", "-c", "2"],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": settings.DATABASE_URL.rpartition("/")[0] + f"/{database}",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        Run.objects.update(sent_at=run.created_at - timedelta(minutes=5))
        services.send_again()
        eventually(lambda: has_text(run), within=30)
    finally:
        worker.kill()
        worker.wait()
    # Time passes: heartbeats and leases run out.
    run.refresh_from_db()
    Run.objects.update(heartbeat_at=run.created_at - services.HEARTBEAT_MISSED)
    for key in durable().scan_iter("ly:{*leases"):
        durable().zadd(key, dict.fromkeys(durable().zrange(key, 0, -1), 0), xx=True)  # type: ignore[arg-type]

    services.sweep()
    reap()

    run.refresh_from_db()
    assert (run.status, run.error_code) == (RunStatus.FAILED, outcomes.WORKER_LOST)
    assert run.output.startswith("word ")
    assert run.output == "word " * run.output.count("word ")
    assert fake.last().closed_by == "client"
    event = metered(run.request_id)
    assert (event.status, event.source) == (500, "playground")
    # By the rule: what was asked, and what had been written when the worker last said that it lived.
    assert (event.prompt_tokens > 0, event.is_estimated) == (True, True)
    services.sweep()
    assert fake.ledger.requests == 1


ODD = [
    {"choices": [5, None]},
    {"choices": [{"delta": 5}]},
    {"choices": [{"delta": {"content": "word\0", "tool_calls": 7}, "finish_reason": {"x": 1}}]},
    {"choices": [{"delta": {"content": ["x"]}, "finish_reason": "st\0op"}]},
]


def test_a_server_that_sends_nonsense_ends_like_another(waiting: MakeRun) -> None:
    async def answer(request: Request) -> Response:
        frames = [f"data: {json.dumps(chunk)}\n\n" for chunk in ODD]
        return Response("".join([*frames, "data: [DONE]\n\n"]), media_type="text/event-stream")

    run = waiting()
    with serving(Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])) as url:
        Backend.objects.update(base_url=f"{url}/v1")
        odd = InferenceWorker()
        odd.execute(run.public_id)
        odd.close()

    run.refresh_from_db()
    assert (run.status, run.output, run.finish_reason) == (RunStatus.SUCCEEDED, "word", "stop")

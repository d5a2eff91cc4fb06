"""Runs as rows: how they are claimed, stopped, swept and deleted."""

import base64
import json
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts.models import Project, User
from common.redis import durable, volatile
from playground import outcomes, services, streams
from playground.models import Run, RunStatus
from playground.outcomes import Outcome

MakeRun = Callable[..., Run]
LONG_AGO = timedelta(minutes=5)


def queued() -> int:
    """Messages that wait for an inference worker."""
    return int(durable().llen("ly:celery:inference"))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def empty_queue() -> None:
    durable().delete("ly:celery:inference")


def claim(run: Run, worker: str = "worker_1") -> Run | None:
    return services.claim_run(run_id=run.public_id, worker=worker, request_id="req_1")


def events_of(run: Run) -> list[str]:
    entries = volatile().xrange(streams.key_of(run.public_id))
    return [fields["event"] for _identifier, fields in entries]  # type: ignore[union-attr]


def test_it_works(
    ada: User, project: Project, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run = services.start_run(
            user=ada,
            project=project,
            model="m",
            messages=[{"role": "user", "content": "A long prompt " * 20}],
            parameters={},
        )

    assert run.status == RunStatus.PENDING
    assert len(run.title) == 120
    assert queued() == 1


def test_the_message_carries_no_prompt(
    ada: User, project: Project, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run = services.start_run(
            user=ada, project=project, model="m", messages=[{"role": "user", "content": "classified"}], parameters={}
        )

    message = json.loads(durable().lrange("ly:celery:inference", 0, -1)[0])  # type: ignore[index]
    body = base64.b64decode(message["body"]).decode()
    assert run.public_id in body
    assert "classified" not in body + json.dumps(message)


def test_a_run_is_claimed_once(ada: User, run_of: MakeRun) -> None:
    run = run_of(ada, status=RunStatus.PENDING)

    first, second = claim(run, "worker_1"), claim(run, "worker_2")

    assert first is not None
    assert (first.worker, first.status, first.request_id) == ("worker_1", RunStatus.RUNNING, "req_1")
    assert second is None


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_at_once_one_claims(ada: User, run_of: MakeRun) -> None:
    run = run_of(ada, status=RunStatus.PENDING)
    claimed: list[str] = []
    together = threading.Barrier(4)

    def try_to(worker: str) -> None:
        together.wait()
        try:
            if claim(run, worker) is not None:
                claimed.append(worker)
        finally:
            connection.close()

    threads = [threading.Thread(target=try_to, args=(f"worker_{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claimed) == 1
    run.refresh_from_db()
    assert run.worker == claimed[0]


def test_a_waiting_run_that_is_stopped_never_starts(
    ada: User, run_of: MakeRun, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    run = run_of(ada, status=RunStatus.PENDING)

    with django_capture_on_commit_callbacks(execute=True):
        services.request_stop(run=run)

    assert claim(run) is None
    run.refresh_from_db()
    assert run.status == RunStatus.STOPPED
    assert events_of(run) == ["end"]


def test_a_worker_learns_of_stops_with_its_heartbeat(ada: User, run_of: MakeRun) -> None:
    going_on, stopped, deleted = (run_of(ada, status=RunStatus.PENDING) for _ in range(3))
    for run in (going_on, stopped, deleted):
        claim(run)
    Run.objects.update(heartbeat_at=timezone.now() - LONG_AGO)
    services.request_stop(run=stopped)
    run_ids = [going_on.public_id, stopped.public_id, deleted.public_id]
    services.delete_run(run=deleted)

    told = services.beat(run_ids=run_ids, worker="worker_1")

    assert told == run_ids[1:]
    assert services.give_up_orphans() == 0


def test_a_run_whose_worker_died_is_failed_with_what_was_seen(ada: User, run_of: MakeRun) -> None:
    run = run_of(ada, status=RunStatus.PENDING, output="")
    claim(run)
    streams.open_stream(run.public_id)
    for at, delta in ((0, "Half an "), (8, "answer")):
        volatile().xadd(streams.key_of(run.public_id), streams.entry("text", {"at": at, "delta": delta}))  # type: ignore[arg-type]
    Run.objects.update(heartbeat_at=timezone.now() - LONG_AGO)

    assert services.give_up_orphans() == 1

    run.refresh_from_db()
    assert (run.status, run.error_code, run.output) == (RunStatus.FAILED, outcomes.WORKER_LOST, "Half an answer")
    assert run.finished_at is not None
    assert events_of(run)[-1] == "end"
    assert services.give_up_orphans() == 0


def test_a_worker_given_up_too_early_still_has_the_last_word(ada: User, run_of: MakeRun) -> None:
    run = run_of(ada, status=RunStatus.PENDING, output="")
    claimed = claim(run)
    assert claimed is not None
    Run.objects.update(heartbeat_at=timezone.now() - LONG_AGO)
    services.give_up_orphans()

    services.finish_run(run=claimed, outcome=Outcome(text="The whole answer", completion_tokens=3))

    run.refresh_from_db()
    assert (run.status, run.error_code, run.output) == (RunStatus.SUCCEEDED, "", "The whole answer")


def test_a_lost_message_is_sent_again(ada: User, run_of: MakeRun) -> None:
    run_of(ada, status=RunStatus.PENDING, sent_at=timezone.now() - LONG_AGO)
    run_of(ada, status=RunStatus.PENDING)
    run_of(ada, sent_at=timezone.now() - LONG_AGO)

    assert services.send_again() == 1
    assert queued() == 1
    assert services.send_again() == 0


def test_deleting_a_run_leaves_nothing_of_it(
    ada: User, run_of: MakeRun, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    run = run_of(ada, status=RunStatus.PENDING)
    claimed = claim(run)
    assert claimed is not None
    streams.open_stream(run.public_id)

    with django_capture_on_commit_callbacks(execute=True):
        services.delete_run(run=claimed)
    services.finish_run(run=run, outcome=Outcome(text="Too late"))

    assert not Run.objects.exists()
    assert not events_of(run)


def test_a_stream_is_kept_a_while_after_its_end(ada: User, run_of: MakeRun) -> None:
    run = run_of(ada, status=RunStatus.PENDING)
    claimed = claim(run)
    assert claimed is not None

    streams.open_stream(run.public_id)
    services.finish_run(run=claimed, outcome=Outcome(text="Hello"))

    assert 0 < volatile().ttl(streams.key_of(run.public_id)) <= streams.KEEP_AFTER_END_SECONDS  # type: ignore[operator]

"""What people and workers do with runs."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import structlog
from celery import current_app
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from accounts.models import Project, User
from playground import outcomes, streams
from playground.models import TITLE_LENGTH, Run, RunStatus
from playground.outcomes import Outcome

log = structlog.get_logger(__name__)

MOST_UNFINISHED_RUNS = 8
# A message not taken by then is thrown away by whoever finds it, and the sweeper sends another.
MESSAGE_SECONDS = 30
HEARTBEAT_MISSED = timedelta(seconds=16)


class TooManyRunsError(Exception):
    """The user has as many runs under way as one person may have."""


class ProjectEndedError(Exception):
    """The project has ended or is archived: nothing is run in it, as none of its keys works."""


def start_run(
    *, user: User, project: Project, model: str, messages: list[dict[str, str]], parameters: dict[str, Any]
) -> Run:
    """A new run, waiting for a worker. It is a row first; the message that follows the commit is only a hint.

    Raises ProjectEndedError, and TooManyRunsError when the user has MOST_UNFINISHED_RUNS under way.
    """
    if not project.is_live:
        raise ProjectEndedError
    with transaction.atomic():
        # Two tabs at once count one after the other.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if Run.objects.of(user).unfinished()[:MOST_UNFINISHED_RUNS].count() >= MOST_UNFINISHED_RUNS:
            raise TooManyRunsError
        run = Run.objects.create(
            user=user,
            project=project,
            title=_title_of(messages),
            model_name=model,
            messages=messages,
            parameters=parameters,
        )
        transaction.on_commit(lambda: _send([run.public_id]))
    return run


def request_stop(*, run: Run) -> None:
    """End a waiting run at once; tell the worker of a running one, which keeps the text that was written."""
    now = timezone.now()
    waiting = Run.objects.filter(pk=run.pk, status=RunStatus.PENDING)
    if waiting.update(status=RunStatus.STOPPED, finished_at=now, stop_requested_at=now):
        transaction.on_commit(lambda: streams.end_stream(run.public_id, status=RunStatus.STOPPED, text=""))
    elif Run.objects.filter(pk=run.pk, status=RunStatus.RUNNING).update(stop_requested_at=now):
        transaction.on_commit(lambda: streams.request_stop(run.public_id))


def delete_run(*, run: Run) -> None:
    """Remove a run and its text for good, stopping it first when it is under way. The usage it caused stays counted."""
    run_id = run.public_id
    was_running = not run.is_finished
    run.delete()

    def forget() -> None:
        if was_running:
            streams.request_stop(run_id)
        streams.remove_stream(run_id)

    transaction.on_commit(forget)


def claim_run(*, run_id: str, worker: str, request_id: str) -> Run | None:
    """Take a waiting run for `worker`. None when another took it, or it was stopped or deleted meanwhile.

    The request's id is kept from the start: when the worker dies, it leads to what the call used all the same.
    """
    now = timezone.now()
    taken = Run.objects.filter(public_id=run_id, status=RunStatus.PENDING).update(
        status=RunStatus.RUNNING, worker=worker, request_id=request_id, started_at=now, heartbeat_at=now
    )
    if not taken:
        return None
    return Run.objects.select_related("user", "project__organization__plan").filter(public_id=run_id).first()


def beat(*, run_ids: list[str], worker: str) -> list[str]:
    """Note that `worker` lives, in the rows of its runs. Returns those that someone asked to stop or deleted."""
    Run.objects.filter(public_id__in=run_ids, worker=worker, status=RunStatus.RUNNING).update(
        heartbeat_at=timezone.now()
    )
    stops = dict(Run.objects.filter(public_id__in=run_ids).values_list("public_id", "stop_requested_at"))
    return [run_id for run_id in run_ids if run_id not in stops or stops[run_id] is not None]


def finish_run(*, run: Run, outcome: Outcome) -> None:
    """Save how a run ended, then tell its readers. A row that was deleted meanwhile stays deleted."""
    # By worker, not by status: when a pause made the sweeper give this worker up, what really happened counts.
    saved = Run.objects.filter(pk=run.pk, worker=run.worker).update(
        status=outcome.status,
        output=outcome.text,
        reasoning=outcome.reasoning,
        finish_reason=outcome.finish_reason[:40],
        error_code=outcome.error_code,
        error_message=outcome.error_message,
        retry_at=outcome.retry_at,
        prompt_tokens=outcome.prompt_tokens,
        completion_tokens=outcome.completion_tokens,
        cost_nano=outcome.cost_nano,
        is_estimated=outcome.is_estimated,
        first_token_at=outcome.first_token_at,
        finished_at=timezone.now(),
    )
    if saved:
        streams.end_stream(run.public_id, status=outcome.status, text=outcome.text, reasoning=outcome.reasoning)
    else:
        streams.remove_stream(run.public_id)


def sweep() -> None:
    """Finish what a lost message or a dead worker left behind."""
    give_up_orphans()
    send_again()


def give_up_orphans() -> int:
    """Mark runs whose worker died as failed, with the text that was seen. They are never made again: that would cost
    the user a second time for a text that is already there. Returns how many."""
    given_up = 0
    for run in Run.objects.without_heartbeat_since(timezone.now() - HEARTBEAT_MISSED).only("public_id", "heartbeat_at"):
        text, reasoning = streams.text_so_far(run.public_id)
        # The same heartbeat still: the worker has not come back since the row was read.
        marked = Run.objects.filter(pk=run.pk, status=RunStatus.RUNNING, heartbeat_at=run.heartbeat_at).update(
            status=RunStatus.FAILED,
            error_code=outcomes.WORKER_LOST,
            output=text,
            reasoning=reasoning,
            finished_at=timezone.now(),
        )
        if marked:
            given_up += 1
            streams.end_stream(run.public_id, status=RunStatus.FAILED, text=text, reasoning=reasoning)
            log.warning("run_given_up", run=run.public_id)
    return given_up


def send_again() -> int:
    """Send the message of every waiting run whose last one has expired. Returns how many."""
    before = timezone.now() - timedelta(seconds=MESSAGE_SECONDS)
    run_ids = list(Run.objects.waiting_since(before).order_by("created_at").values_list("public_id", flat=True)[:1000])
    Run.objects.filter(public_id__in=run_ids).update(sent_at=timezone.now())
    _send(run_ids)
    return len(run_ids)


def _send(run_ids: Iterable[str]) -> None:
    try:
        for run_id in run_ids:
            # Only the id: prompts would lie in the broker's log on disk.
            current_app.send_task(
                "playground.tasks.run", args=[run_id], queue="inference", expires=MESSAGE_SECONDS, retry=False
            )
    except (KombuError, RedisError, OSError) as error:
        log.warning("run_not_sent", error=str(error))


def _title_of(messages: list[dict[str, str]]) -> str:
    asked = next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")
    words = " ".join(asked[: TITLE_LENGTH * 4].split())
    return words if len(words) <= TITLE_LENGTH else f"{words[: TITLE_LENGTH - 1]}…"

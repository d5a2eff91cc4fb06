"""What export and erasure share: claimed by one worker, counted step by step, tried again when a worker died."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar

import structlog
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

from accounts.models import AccountJob, JobState

MOST_ATTEMPTS = 3
WAITED = timedelta(seconds=60)
SILENT = timedelta(minutes=5)

log = structlog.get_logger(__name__)

Job = TypeVar("Job", bound=AccountJob)


def send_hint(send: Callable[[], object]) -> None:
    try:
        send()
    except OperationalError:
        # The row is there and the sweeper finds it.
        log.warning("account_job_hint_not_sent")


def left_behind(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """Jobs whose message was lost, or whose worker has said nothing for a while."""
    now = timezone.now()
    return jobs.filter(
        Q(state=JobState.WAITING, heartbeat_at__lt=now - WAITED)
        | Q(state=JobState.RUNNING, heartbeat_at__lt=now - SILENT)
    )


def work(job: AccountJob, steps: Iterable[Callable[[], object]]) -> None:
    """Do the steps in turn. Only one of several workers at once does any."""
    jobs = type(job)._default_manager.filter(pk=job.pk)
    now = timezone.now()
    mine = jobs.filter(Q(state=JobState.WAITING) | Q(state=JobState.RUNNING, heartbeat_at__lt=now - SILENT)).update(
        state=JobState.RUNNING, heartbeat_at=now, attempts=F("attempts") + 1
    )
    if not mine:
        return
    try:
        for number, step in enumerate(steps, start=1):
            step()
            jobs.update(done=number, heartbeat_at=timezone.now())
    except Exception:
        job.refresh_from_db()
        gives_up = job.attempts >= MOST_ATTEMPTS
        jobs.update(state=JobState.FAILED if gives_up else JobState.WAITING, done=0, heartbeat_at=timezone.now())
        raise
    jobs.update(state=JobState.DONE, finished_at=timezone.now())
    job.refresh_from_db()

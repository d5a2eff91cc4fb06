"""What export and erasure share: claimed by one worker, counted step by step, tried again when a worker died."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts.models import AccountJob, JobState

MOST_ATTEMPTS = 3
WAITED = timedelta(seconds=60)
# What fails waits twice as long each time, up to four hours.
MOST_DOUBLINGS = 8
SILENT = timedelta(minutes=5)

Job = TypeVar("Job", bound=AccountJob)


def left_behind(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """Jobs whose message was lost, or whose worker has said nothing for a while."""
    now = timezone.now()
    rested = Q(heartbeat_at__lt=now - WAITED * 2**MOST_DOUBLINGS)
    for attempts in range(MOST_DOUBLINGS):
        rested |= Q(attempts__lte=attempts, heartbeat_at__lt=now - WAITED * 2**attempts)
    return jobs.filter(Q(rested, state=JobState.WAITING) | Q(state=JobState.RUNNING, heartbeat_at__lt=now - SILENT))


def work(job: AccountJob, steps: Iterable[Callable[[], object]], *, gives_up: bool) -> None:
    """Do the steps in turn. Only one of several workers at once does any.

    With `gives_up` it has failed for good after MOST_ATTEMPTS, whether they raised or their workers died.
    """
    jobs = type(job)._default_manager.filter(pk=job.pk)
    now = timezone.now()
    ready = jobs.filter(Q(state=JobState.WAITING) | Q(state=JobState.RUNNING, heartbeat_at__lt=now - SILENT))
    if gives_up and ready.filter(attempts__gte=MOST_ATTEMPTS).update(state=JobState.FAILED, heartbeat_at=now):
        return
    if not ready.update(state=JobState.RUNNING, heartbeat_at=now, attempts=F("attempts") + 1):
        return
    try:
        for number, step in enumerate(steps, start=1):
            step()
            jobs.update(done=number, heartbeat_at=timezone.now())
    except Exception:
        is_over = gives_up and jobs.filter(attempts__gte=MOST_ATTEMPTS).exists()
        jobs.update(state=JobState.FAILED if is_over else JobState.WAITING, done=0, heartbeat_at=timezone.now())
        raise
    # The row of an export goes with the account that is erased meanwhile.
    if jobs.update(state=JobState.DONE, finished_at=timezone.now()):
        job.refresh_from_db()

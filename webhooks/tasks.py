"""Background work on webhooks. Each task can run twice at the same time without harm."""

import threading

from celery import shared_task

from webhooks import services
from webhooks.delivery import BATCH, deliver_due

# Receivers that never answer must leave this worker its threads. What is not taken, beat or the sweep in hand finds.
MOST_SWEEPS = 4

_sweeps = threading.BoundedSemaphore(MOST_SWEEPS)


@shared_task
def deliver() -> None:
    """Send what is due; as long as there is a whole batch of it, go on at once."""
    if not _sweeps.acquire(blocking=False):
        return
    try:
        sent = deliver_due()
    finally:
        _sweeps.release()
    if sent == BATCH:
        services.hint()


@shared_task
def forget_old() -> None:
    services.forget_old()

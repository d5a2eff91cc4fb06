"""Proof that the queues are consumed, for /readyz."""

import time
from typing import Any

from celery import Task, shared_task
from celery.signals import task_postrun

from portal.health import note_consumed
from portal.operations import disk

_NOTE_SECONDS = 1.0
_noted_at: dict[str, float] = {}


@task_postrun.connect
def note_queue(task: "Task[Any, Any] | None" = None, **kwargs: Any) -> None:
    """A queue is consumed when its tasks finish: any task, since behind a long line of them a heartbeat may expire."""
    queue = (task.request.delivery_info or {}).get("routing_key") if task else None
    if queue and time.monotonic() - _noted_at.get(queue, -_NOTE_SECONDS) >= _NOTE_SECONDS:
        _noted_at[queue] = time.monotonic()
        note_consumed(queue)


@shared_task
def heartbeat() -> None:
    """Finishing is the message: see note_queue."""


@shared_task
def load_sample_data() -> None:
    from portal.sample import loading

    loading.load_sample_data()


@shared_task
def note_sizes() -> None:
    """Write down how large everything is today, for the operators' page."""
    disk.note()

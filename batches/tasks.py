"""Work on batches. A message is a hint to look at a batch's row; it carries nothing else."""

from typing import Any

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_shutdown, worker_shutting_down

from batches import once, progress, worker


# It only begins: what follows may take a day, and holds no thread of Celery's.
@shared_task(acks_late=False, reject_on_worker_lost=False, max_retries=0)
def work(batch_id: str) -> None:
    """Work on a batch, if nobody else does."""
    worker.current().take(batch_id)


# Not on the queue of batches: it must find those of a dead worker.
@shared_task(queue="default")
def sweep() -> None:
    """Send the messages of batches that nobody works on."""
    progress.send_again()


@shared_task(queue="default")
def remove_expired_files() -> None:
    """Delete files, and keys of requests, whose time is over."""
    progress.remove_expired_files()
    once.forget()


@worker_shutting_down.connect
def begin_to_stop(**signal: Any) -> None:
    """A worker that is told to stop begins no more lines."""
    worker.stop_soon()


# The second is where batches are when a worker has processes instead of threads.
@worker_shutdown.connect
@worker_process_shutdown.connect
def stop(**signal: Any) -> None:
    """It ends once what was answered is written down and its batches are left to others."""
    worker.wait_until_stopped()

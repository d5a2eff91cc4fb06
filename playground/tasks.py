"""Work of the playground. A run's message is a hint to look at its row; it carries nothing else."""

from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down

from playground import services, worker


# Early acknowledgement and no retry: a generation is never made twice.
@shared_task(acks_late=False, reject_on_worker_lost=False, max_retries=0)
def run(run_id: str) -> None:
    """Make one run."""
    worker.current().execute(run_id)


# Not on the inference queue: it must tell the users of a dead inference worker.
@shared_task(queue="default")
def sweep() -> None:
    """Finish what a lost message or a dead worker left behind."""
    services.sweep()


@worker_shutting_down.connect
def interrupt_runs(**signal: Any) -> None:
    """A worker that is told to stop tells its runs."""
    worker.interrupt_soon()

"""Background work on webhooks. Each task can run twice at the same time without harm."""

from celery import shared_task

from webhooks import services
from webhooks.delivery import BATCH, deliver_due


@shared_task
def deliver() -> None:
    """Send what is due; as long as there is a whole batch of it, go on at once."""
    if deliver_due() == BATCH:
        services.hint()


@shared_task
def forget_old() -> None:
    services.forget_old()

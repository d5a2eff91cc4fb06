"""Background work on the catalog."""

from celery import shared_task

from catalog import services


@shared_task
def check_backends() -> None:
    """Find out which backends serve; beat asks every ten seconds."""
    services.check_backends()

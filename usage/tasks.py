"""What the workers do for metering. Each task can run twice at the same time without harm."""

from celery import shared_task

from catalog import running
from usage import admission, nearing, reconciliation, services, spool
from usage import ingest as ingestion
from usage.credits.nearing import look_at_credits


@shared_task
def ingest() -> None:
    """Write every waiting usage event into the ledger."""
    ingestion.ingest()


@shared_task
def forget() -> None:
    """Drop what is kept no longer: five-minute sums, events that could not be read, months of calls, what was told."""
    services.forget_old_sums()
    ingestion.forget_dead_letters()
    services.keep_months()
    nearing.forget_alerts()


@shared_task
def reap() -> None:
    """Settle calls whose process died, and what processes that died said and left on this machine's disk."""
    running.forget_gone()
    admission.reap()
    spool.replay(admission.settle_now)


@shared_task
def look_for_delay() -> None:
    """Alarm the operator when nobody writes usage into the ledger. On another queue than what it watches."""
    ingestion.look_for_delay()


@shared_task
def look_for_drift() -> None:
    """Alarm the operator when the ledger, its sums and the counters differ."""
    reconciliation.look_for_drift()


@shared_task
def look_at_budgets() -> None:
    """Tell of budgets and credits that near their end. On another queue than what counts: it may have much to tell."""
    nearing.look_at_budgets()
    look_at_credits()

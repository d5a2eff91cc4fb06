from celery import shared_task

from accounts.auditing import upkeep


@shared_task
def keep_audit_log() -> None:
    upkeep.keep_audit_log()

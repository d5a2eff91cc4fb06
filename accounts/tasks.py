from celery import shared_task

from accounts.auditing import upkeep
from accounts.invitations import services


@shared_task
def keep_audit_log() -> None:
    upkeep.keep_audit_log()


@shared_task
def send_invitation(pk: int) -> None:
    services.send_invitation(pk=pk)


@shared_task
def send_waiting_invitations() -> None:
    services.send_waiting_invitations()

"""Background work on accounts. A message is a hint to look at a row; it carries nothing else."""

from celery import shared_task

from accounts import erasure, exports, jobs
from accounts.auditing import upkeep
from accounts.invitations import services
from accounts.models import AccountErasure, AccountExport


@shared_task
def keep_audit_log() -> None:
    upkeep.keep_audit_log()


@shared_task
def send_invitation(pk: int) -> None:
    services.send_invitation(pk=pk)


@shared_task
def send_waiting_invitations() -> None:
    services.send_waiting_invitations()


@shared_task
def write_export(export_id: str) -> None:
    """Make one copy of what is held about a person."""
    export = AccountExport.objects.select_related("user").filter(public_id=export_id).first()
    if export is not None:
        exports.write_export(export=export)


@shared_task
def erase_account(erasure_id: str) -> None:
    """Erase one account."""
    row = AccountErasure.objects.select_related("user").filter(public_id=erasure_id).first()
    if row is not None:
        erasure.erase_account(erasure=row)


@shared_task
def sweep() -> None:
    """Begin again what a lost message or a dead worker left behind."""
    for export_id in jobs.left_behind(AccountExport.objects.all()).values_list("public_id", flat=True):
        write_export.delay(export_id)
    for erasure_id in jobs.left_behind(AccountErasure.objects.all()).values_list("public_id", flat=True):
        erase_account.delay(erasure_id)


@shared_task
def remove_expired_exports() -> None:
    """Delete copies whose day is over."""
    exports.remove_expired()

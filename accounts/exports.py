"""A copy of everything held about a person, as a zip of JSON and Markdown."""

import tempfile
import zipfile
from datetime import timedelta
from functools import partial
from typing import IO

from django.core.files import File
from django.db import transaction
from django.utils import timezone

from accounts import jobs
from accounts.audit import record
from accounts.holdings import Holding, holdings
from accounts.models import AccountExport, JobState, User
from common.hints import send_hint

KEPT = timedelta(hours=24)
README = """# What this portal holds about you

Each folder comes from one part of the portal. JSON files hold rows as they are stored; what you wrote in the forum is
Markdown. Passwords, secrets of keys and of second factors are not in it: the portal cannot read them back, or keeps
them encrypted.
"""


@transaction.atomic
def start_export(*, user: User) -> AccountExport:
    """Have a copy made; one that is under way already is given instead of another."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    export = user.exports.filter(state__in=[JobState.WAITING, JobState.RUNNING]).first()
    if export is None:
        export = AccountExport.objects.create(user=user, total=len(holdings()))
        record("account.export_started", by=user, target=user)
    transaction.on_commit(partial(_hint, export.public_id))
    return export


def write_export(*, export: AccountExport) -> None:
    """Write the file of an export. Safe to run twice and at once."""
    with tempfile.TemporaryFile() as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.md", README)
        steps = [partial(_add, archive, holding, export.user) for holding in holdings()]
        jobs.work(export, [*steps[:-1], partial(_last, steps[-1], archive, file, export)], gives_up=True)


def remove_expired() -> int:
    """Delete exports whose day is over, and say how many."""
    expired = AccountExport.objects.filter(expires_at__lte=timezone.now())
    for export in expired:
        export.file.delete(save=False)
        export.delete()
    return len(expired)


def _add(archive: zipfile.ZipFile, holding: Holding, user: User) -> None:
    for document in holding.export(user):
        with archive.open(document.path, "w", force_zip64=True) as entry:
            for piece in document.pieces:
                entry.write(piece.encode())


def _last(step: partial[None], archive: zipfile.ZipFile, file: IO[bytes], export: AccountExport) -> None:
    """The last part, and the whole into the storage, before the export counts as done."""
    step()
    archive.close()
    file.seek(0)
    export.file.save(f"{export.public_id}.zip", File(file), save=False)
    is_kept = AccountExport.objects.filter(pk=export.pk).update(file=export.file.name, expires_at=timezone.now() + KEPT)
    if not is_kept:
        # The account was erased meanwhile, and this copy with it.
        export.file.delete(save=False)


def _hint(export_id: str) -> None:
    from accounts.tasks import write_export as task  # tasks import this module

    send_hint(partial(task.delay, export_id), about=export_id)

"""What workers do with batches: claim them, write down what is done, put their files together, give them up.

Everything is written under a claim, which another worker takes over once the first has been silent for a while. Under a
claim that was taken over nothing can be written any more, so that no line is written down twice.
"""

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import structlog
from celery import current_app
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from batches import lines, storing
from batches.lines import Checked, Result
from batches.models import UNFINISHED, Batch, BatchPart, BatchStatus, Purpose, StoredFile
from common.ids import new_id

log = structlog.get_logger(__name__)

# A message not taken by then is thrown away by whoever finds it, and the sweeper sends another.
MESSAGE_SECONDS = 30
HEARTBEAT_MISSED = timedelta(seconds=20)
MOST_SENT = 1000
OUTPUT, ERRORS = "_output.jsonl", "_error.jsonl"
# Faults of ours that are tried again, by whichever worker, before a batch is given up.
MOST_FAULTS = 10
MOST_REMOVED_AT_ONCE = 1000


class ClaimLostError(Exception):
    """Somebody else has the batch in hand, or it is gone: nothing more is to be done for it here."""


def send(batch_ids: Iterable[str]) -> None:
    """Tell workers to look at these batches."""
    try:
        for batch_id in batch_ids:
            current_app.send_task(
                "batches.tasks.work", args=[batch_id], queue="batches", expires=MESSAGE_SECONDS, retry=False
            )
    except (KombuError, RedisError, OSError) as error:
        log.warning("batch_not_sent", error=str(error))


def send_again() -> int:
    """Send the message of every batch that nobody works on and whose last message has expired. Returns how many."""
    now = timezone.now()
    waiting = Batch.objects.unclaimed(heard_before=now - HEARTBEAT_MISSED).filter(
        sent_at__lt=now - timedelta(seconds=MESSAGE_SECONDS)
    )
    batch_ids = list(waiting.order_by("sent_at").values_list("public_id", flat=True)[:MOST_SENT])
    Batch.objects.filter(public_id__in=batch_ids).update(sent_at=now)
    send(batch_ids)
    return len(batch_ids)


def claim(batch_id: str) -> Batch | None:
    """Take a batch in hand. None when somebody else has it, or it is over or gone."""
    now = timezone.now()
    taken = (
        Batch.objects.unclaimed(heard_before=now - HEARTBEAT_MISSED)
        .filter(public_id=batch_id)
        .update(claim=new_id("claim"), heartbeat_at=now)
    )
    return Batch.objects.select_related("key", "project").filter(public_id=batch_id).first() if taken else None


def beat(batch: Batch) -> Batch:
    """Say that the batch is worked on, and learn what others say of it.

    Raises ClaimLostError.
    """
    _write(batch, heartbeat_at=timezone.now())
    found: Batch | None = Batch.objects.filter(pk=batch.pk, claim=batch.claim).first()
    if found is None:
        raise ClaimLostError
    return found


def release(batch: Batch, *, is_fault: bool) -> None:
    """Leave a batch to whoever comes next. After too many faults of ours it has failed."""
    # As if the message had just expired: the next sweep sends another.
    sent_at = timezone.now() - timedelta(seconds=0 if is_fault else MESSAGE_SECONDS)
    with suppress(ClaimLostError):
        _write(batch, claim="", sent_at=sent_at, faults=F("faults") + int(is_fault))
    if is_fault:
        given_up = Batch.objects.filter(pk=batch.pk, claim="", faults__gte=MOST_FAULTS).unfinished()
        given_up.update(
            status=BatchStatus.FAILED,
            failed_at=timezone.now(),
            errors=lines.failure("server_error", "The portal could not work on this batch. Tell its operator the id."),
        )


def check_input(batch: Batch) -> Checked:
    """What stands in the input of a batch, and what is wrong with it."""
    with open_input(batch) as file:
        return lines.check(file, endpoint=batch.endpoint)


def open_input(batch: Batch) -> IO[bytes]:
    """The input of a batch, from its beginning."""
    return storing.opened(StoredFile.objects.get(public_id=batch.input_file_id).stored_as)


def begin(batch: Batch, checked: Checked) -> None:
    """Say what was found in the input: the batch is in progress, or has failed.

    Raises ClaimLostError.
    """
    if checked.errors:
        # Also one that was asked to be cancelled meanwhile: there is nothing else to end it with.
        _write(batch, status=BatchStatus.FAILED, failed_at=timezone.now(), errors=checked.errors, claim="")
        return
    with transaction.atomic():
        _write(batch, total=checked.total, model_name=checked.model_name)
        with suppress(ClaimLostError):
            # One that is being cancelled goes on saying so.
            _write(
                batch,
                only=BatchStatus.VALIDATING,
                status=BatchStatus.IN_PROGRESS,
                in_progress_at=timezone.now(),
            )


def done_lines(batch: Batch) -> set[int]:
    """The numbers of the lines that are written down."""
    return {number for numbers in batch.parts.values_list("lines", flat=True) for number in numbers}


def save_part(batch: Batch, text: Iterable[bytes]) -> str:
    """Put lines into the storage; nothing counts as done until `record` says so. Gives the name there."""
    with storing.scratch() as file:
        file.writelines(text)
        file.flush()
        return storing.keep(Path(file.name), name=f"{_folder(batch)}/parts/{new_id('part')}")


def record(batch: Batch, results: Sequence[Result], *, answers: str, errors: str) -> None:
    """Write down that these lines are done and stand in the parts of these names, of which one may be empty.

    Raises ClaimLostError.
    """
    usages = [result.usage for result in results if result.usage is not None]
    failed = sum(result.is_error for result in results)
    with transaction.atomic():
        _write(
            batch,
            heartbeat_at=timezone.now(),
            completed=F("completed") + len(results) - failed,
            failed=F("failed") + failed,
            prompt_tokens=F("prompt_tokens") + sum(usage.prompt_tokens for usage in usages),
            cached_tokens=F("cached_tokens") + sum(usage.cached_tokens for usage in usages),
            completion_tokens=F("completion_tokens") + sum(usage.completion_tokens for usage in usages),
        )
        for name, is_errors in ((answers, False), (errors, True)):
            numbers = [result.number for result in results if result.is_error is is_errors]
            if numbers:
                BatchPart.objects.create(batch=batch, is_errors=is_errors, file=name, lines=numbers)


def end_as(batch: Batch, status: BatchStatus) -> None:
    """Say what a batch is once its files are put together.

    Raises ClaimLostError.
    """
    _write(batch, ends_as=status)


def finish(batch: Batch) -> None:
    """Put the parts together, make files of them and say that the batch is over. Can be done again if it broke off.

    Raises ClaimLostError.
    """
    with suppress(ClaimLostError):
        # One that is being cancelled goes on saying so.
        _write(batch, only=BatchStatus.IN_PROGRESS, status=BatchStatus.FINALIZING, finalizing_at=timezone.now())
    # Read anew, and apart: the claim in `batch` is ours, that in the row may be another's.
    row = Batch.objects.filter(pk=batch.pk, claim=batch.claim).first()
    if row is None:
        raise ClaimLostError
    if row.completed + row.failed != row.total:
        raise RuntimeError(f"{row.public_id}: {row.completed} + {row.failed} lines are done of {row.total}")
    made: list[StoredFile] = []
    try:
        for is_errors in (False, True):
            made += _put_together(row, is_errors=is_errors)
        _close(row, made)
    except BaseException:
        remove_parts([file.stored_as for file in made])
        raise
    _remove_leftovers(row, but={file.stored_as for file in made})


def _close(batch: Batch, made: list[StoredFile]) -> None:
    over = batch.ends_as
    values: dict[str, Any] = {"status": over, "claim": "", f"{over}_at": timezone.now()}
    for file in made:
        values["error_file_id" if file.filename.endswith(ERRORS) else "output_file_id"] = file.public_id
    with transaction.atomic():
        for file in made:
            file.save()
        _write(batch, **values)
        batch.parts.all().delete()


def remove_parts(names: Iterable[str]) -> None:
    """Remove from the storage what is not to be written down after all."""
    for name in names:
        storing.remove(name)


def _remove_leftovers(batch: Batch, *, but: set[str]) -> None:
    """Remove what a killed worker put into the storage and did not write down."""
    for folder in (_folder(batch), f"{_folder(batch)}/parts"):
        with suppress(FileNotFoundError):
            names = (f"{folder}/{name}" for name in default_storage.listdir(folder)[1])
            remove_parts(name for name in names if name not in but)


def remove_expired_files() -> int:
    """Delete files whose time is over. Returns how many."""
    storing.sweep()
    deleted = 0
    while expired := list(StoredFile.objects.expired()[:MOST_REMOVED_AT_ONCE]):
        for file in expired:
            file.delete()
        deleted += len(expired)
    return deleted


def _put_together(batch: Batch, *, is_errors: bool) -> list[StoredFile]:
    """The file of the parts of one kind, in the storage and not yet a row; none when there are no such parts."""
    parts = batch.parts.filter(is_errors=is_errors).order_by("pk")
    if not parts.exists():
        return []
    with storing.scratch() as file:
        for part in parts.iterator():
            with storing.opened(part.stored_as) as piece:
                shutil.copyfileobj(piece, file)
        file.flush()
        size = file.tell()
        # By a name of its own: somebody who was slow and lost the claim must not take the place of what is good.
        name = storing.keep(Path(file.name), name=f"{_folder(batch)}/{new_id('whole')}")
    now = timezone.now()
    seconds = batch.output_seconds or settings.BATCH_FILE_DAYS * 24 * 3600
    stored = StoredFile(
        project_id=batch.project_id,
        key_id=batch.key_id,
        participant=batch.participant,
        filename=f"{batch.public_id}{ERRORS if is_errors else OUTPUT}",
        purpose=Purpose.BATCH_OUTPUT,
        size_bytes=size,
        file=name,
        created_at=now,
        expires_at=now + timedelta(seconds=seconds),
    )
    return [stored]


def _write(batch: Batch, *, only: BatchStatus | None = None, **values: Any) -> None:
    mine = Batch.objects.filter(pk=batch.pk, claim=batch.claim, status__in=[only] if only else UNFINISHED)
    if not mine.update(**values):
        raise ClaimLostError


def _folder(batch: Batch) -> str:
    return f"batches/{batch.public_id}"

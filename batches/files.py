"""Files of projects: kept, listed, handed out, deleted."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from batches import storing
from batches.asked import Asked, is_id, listed
from batches.models import Batch, Purpose, StoredFile, file_id
from batches.places import Place, place_of
from batches.storing import Upload
from common.errors import (
    BodyTooLargeError,
    ConflictError,
    InvalidRequestError,
    InvalidValueError,
    MissingParameterError,
    NotFoundError,
)
from usage.policies import Caller

MOST_BATCH_INPUT_BYTES = 200 * 1024 * 1024
UPLOADED = tuple(purpose.value for purpose in Purpose if purpose != Purpose.BATCH_OUTPUT)
SHORTEST_SECONDS = 3600
LONGEST_SECONDS = 30 * 24 * 3600
MOST_LISTED = 10_000


def most_bytes(purpose: str | None) -> int:
    """The largest a file of this purpose may be; None when it is not known yet."""
    most: int = settings.FILES_MAX_BYTES
    return min(most, MOST_BATCH_INPUT_BYTES) if purpose == Purpose.BATCH else most


def check_upload(caller: Caller, upload: Upload) -> None:
    """Raise an ApiError when the caller may not store this."""
    purpose = upload.fields.get("purpose")
    if purpose is None:
        raise MissingParameterError("purpose")
    if purpose not in UPLOADED:
        raise InvalidValueError("purpose", f"one of {', '.join(UPLOADED)}")
    if upload.size_bytes > most_bytes(purpose):
        raise BodyTooLargeError(limit_bytes=most_bytes(purpose))
    _seconds_kept(upload.fields)
    stored = StoredFile.objects.filter(project__public_id=caller.project_id).aggregate(sum=Sum("size_bytes"))["sum"]
    if (stored or 0) + upload.size_bytes > settings.FILES_PROJECT_MAX_BYTES:
        raise InvalidRequestError(
            f"The files of this project would be larger than the {settings.FILES_PROJECT_MAX_BYTES} bytes it may "
            "store. Delete files that you no longer need.",
            code="project_storage_full",
        )


def put_away(upload: Upload) -> str:
    """Put the file of an upload into the storage; its name there. Needs no database and may take long."""
    return storing.keep(upload.path, name=f"files/{file_id()}")


def store_file(caller: Caller, upload: Upload, name: str) -> StoredFile:
    """The row of an uploaded file, which is in the storage under this name."""
    place, purpose, now = place_of(caller), upload.fields["purpose"], timezone.now()
    seconds = _seconds_kept(upload.fields)
    if seconds is None and purpose == Purpose.BATCH:
        seconds = settings.BATCH_FILE_DAYS * 24 * 3600
    return StoredFile.objects.create(
        project=place.project,
        key=place.key,
        participant=place.participant,
        filename=upload.filename,
        purpose=purpose,
        size_bytes=upload.size_bytes,
        file=name,
        created_at=now,
        expires_at=None if seconds is None else now + timedelta(seconds=seconds),
    )


def find_file(place: Place, public_id: str, *, param: str | None = None) -> StoredFile:
    """A file that is seen from there; NotFoundError, in the same words, for one of others and for none."""
    file: StoredFile | None = None
    if is_id(public_id):
        file = place.seen(StoredFile.objects.unexpired()).filter(public_id=public_id).first()
    if file is None:
        raise NotFoundError(f"No such File object: {public_id[:100]}", param=param)
    return file


def asked_for(asked: Asked) -> StoredFile:
    """The file whose id is in the path."""
    return find_file(place_of(asked.caller), asked.ids["file_id"])


def listing(asked: Asked) -> dict[str, Any]:
    """`GET /v1/files`."""
    asked.parameters.refuse_all_but(("after", "limit", "order", "purpose"))
    place = place_of(asked.caller)
    rows = place.seen(StoredFile.objects.unexpired())
    purpose = asked.parameters.word("purpose", list(Purpose.values))
    if purpose is not None:
        rows = rows.filter(purpose=purpose)
    after = asked.parameters.text("after")
    return listed(
        asked.parameters,
        rows,
        after=find_file(place, after, param="after") if after else None,
        usual=MOST_LISTED,
        most=MOST_LISTED,
        as_object=as_object,
    )


def one(asked: Asked) -> dict[str, Any]:
    """`GET /v1/files/{file_id}`."""
    return as_object(asked_for(asked))


def delete(asked: Asked) -> dict[str, Any]:
    """`DELETE /v1/files/{file_id}`."""
    file = asked_for(asked)
    batch = Batch.objects.unfinished().filter(input_file_id=file.public_id).first()
    if batch is not None:
        raise ConflictError(
            f"{file.public_id} is the input of {batch.public_id}, which is not yet done. Cancel it first, or wait.",
            code="file_in_use",
        )
    file.delete()
    return {"id": file.public_id, "object": "file", "deleted": True}


def as_object(file: StoredFile) -> dict[str, Any]:
    """A file as OpenAI describes it."""
    return {
        "id": file.public_id,
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": int(file.created_at.timestamp()),
        "expires_at": None if file.expires_at is None else int(file.expires_at.timestamp()),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def seconds_kept(given: Any, param: str) -> int | None:
    """How long a file is to be kept from its making on; None when nothing was said.

    Raises InvalidValueError.
    """
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("anchor") != "created_at":
        raise InvalidValueError(param, "an object with 'anchor': 'created_at' and 'seconds'")
    seconds = given.get("seconds")
    if type(seconds) is not int or not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        raise InvalidValueError(f"{param}.seconds", f"a whole number from {SHORTEST_SECONDS} to {LONGEST_SECONDS}")
    return seconds


def _seconds_kept(fields: dict[str, str]) -> int | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    is_whole = seconds is not None and seconds.isascii() and seconds.isdecimal() and len(seconds) < 10
    return seconds_kept({"anchor": anchor, "seconds": int(seconds) if seconds and is_whole else None}, "expires_after")

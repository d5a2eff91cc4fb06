"""Batches as programs see them: made, listed, told about, cancelled."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import Project
from batches import progress
from batches.asked import Asked, is_id, listed
from batches.files import find_file, seconds_kept
from batches.models import Batch, BatchStatus, Purpose
from batches.places import Place, place_of
from common.errors import (
    ConflictError,
    EndpointNotAllowedError,
    InvalidValueError,
    MissingParameterError,
    NotFoundError,
    RateLimitError,
)
from inference.endpoints import ENDPOINTS

# Those whose body and answer are JSON.
OFFERED = tuple(path for path, endpoint in ENDPOINTS.items() if not endpoint.takes_form and not endpoint.other_answers)
WINDOW = timedelta(hours=24)
MOST_UNFINISHED = 100
MOST_PAIRS = 16
MOST_NAME_CHARACTERS = 64
MOST_VALUE_CHARACTERS = 512
USUALLY_LISTED = 20
MOST_LISTED = 100
STARTED = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS)


def create(asked: Asked) -> dict[str, Any]:
    """`POST /v1/batches`. It is a row first; the message that follows the commit is only a hint."""
    body, caller = asked.body, asked.caller
    endpoint = _text(body, "endpoint").removeprefix("/v1/")
    if endpoint not in OFFERED:
        raise InvalidValueError("endpoint", f"one of {', '.join(f'/v1/{path}' for path in OFFERED)}")
    if not caller.may_use_endpoint(endpoint):
        raise EndpointNotAllowedError(endpoint)
    if _text(body, "completion_window") != "24h":
        raise InvalidValueError("completion_window", "'24h'")
    metadata = _metadata(body.get("metadata"))
    output_seconds = seconds_kept(body.get("output_expires_after"), "output_expires_after")
    place = place_of(caller)
    file = find_file(place, _text(body, "input_file_id"), param="input_file_id")
    if file.purpose != Purpose.BATCH:
        raise InvalidValueError("input_file_id", "a file that was uploaded with the purpose 'batch'")
    with transaction.atomic():
        # Two at once count one after the other.
        Project.objects.select_for_update(no_key=True).get(pk=place.project.pk)
        if Batch.objects.unfinished().filter(project=place.project)[:MOST_UNFINISHED].count() >= MOST_UNFINISHED:
            raise RateLimitError(
                f"This project has {MOST_UNFINISHED} batches under way, which is the most it may have. Wait until one "
                "is done, or cancel one.",
                kind="requests",
                wait_seconds=None,
            )
        now = timezone.now()
        batch = Batch.objects.create(
            project=place.project,
            key=place.key,
            participant=place.participant,
            endpoint=endpoint,
            input_file_id=file.public_id,
            output_seconds=output_seconds,
            metadata=metadata,
            created_at=now,
            sent_at=now,
            expires_at=now + WINDOW,
        )
        transaction.on_commit(lambda: progress.send([batch.public_id]))
    return as_object(batch)


def listing(asked: Asked) -> dict[str, Any]:
    """`GET /v1/batches`."""
    asked.parameters.refuse_all_but(("after", "limit"))
    place, after = place_of(asked.caller), asked.parameters.text("after")
    return listed(
        asked.parameters,
        place.seen(Batch.objects.all()),
        after=_find(place, after) if after else None,
        usual=USUALLY_LISTED,
        most=MOST_LISTED,
        as_object=as_object,
    )


def one(asked: Asked) -> dict[str, Any]:
    """`GET /v1/batches/{batch_id}`."""
    return as_object(_find(place_of(asked.caller), asked.ids["batch_id"]))


def cancel(asked: Asked) -> dict[str, Any]:
    """`POST /v1/batches/{batch_id}/cancel`. Its worker lets the lines in flight end, and writes down the rest."""
    batch = _find(place_of(asked.caller), asked.ids["batch_id"])
    changed = Batch.objects.filter(pk=batch.pk, status__in=STARTED).update(
        status=BatchStatus.CANCELLING, ends_as=BatchStatus.CANCELLED, cancelling_at=timezone.now()
    )
    batch.refresh_from_db()
    if not changed and batch.status != BatchStatus.CANCELLING:
        raise ConflictError(
            f"{batch.public_id} is {batch.status}: only a batch that is being checked or in progress can be cancelled.",
            code="batch_not_cancellable",
        )
    return as_object(batch)


def as_object(batch: Batch) -> dict[str, Any]:
    """A batch as OpenAI describes it."""
    return {
        "id": batch.public_id,
        "object": "batch",
        "endpoint": f"/v1/{batch.endpoint}",
        "model": batch.model_name or None,
        "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
        "input_file_id": batch.input_file_id,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file_id or None,
        "error_file_id": batch.error_file_id or None,
        "created_at": _seconds(batch.created_at),
        "in_progress_at": _seconds(batch.in_progress_at),
        "expires_at": _seconds(batch.expires_at),
        "finalizing_at": _seconds(batch.finalizing_at),
        "completed_at": _seconds(batch.completed_at),
        "failed_at": _seconds(batch.failed_at),
        "expired_at": _seconds(batch.expired_at),
        "cancelling_at": _seconds(batch.cancelling_at),
        "cancelled_at": _seconds(batch.cancelled_at),
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "usage": {
            "input_tokens": batch.prompt_tokens,
            "input_tokens_details": {"cached_tokens": batch.cached_tokens},
            "output_tokens": batch.completion_tokens,
            # Servers that think count it as output; the ledger does not tell the two apart.
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": batch.prompt_tokens + batch.completion_tokens,
        },
        "metadata": batch.metadata,
    }


def _find(place: Place, public_id: str) -> Batch:
    batch: Batch | None = None
    if is_id(public_id):
        batch = place.seen(Batch.objects.filter(public_id=public_id)).first()
    if batch is None:
        raise NotFoundError(f"No such Batch object: {public_id[:100]}")
    return batch


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        raise MissingParameterError(name)
    if not isinstance(value, str):
        raise InvalidValueError(name, "a text")
    return value


def _metadata(given: Any) -> dict[str, str] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or len(given) > MOST_PAIRS:
        raise InvalidValueError("metadata", f"an object with at most {MOST_PAIRS} texts")
    for name, value in given.items():
        if not (_is_storable(name, MOST_NAME_CHARACTERS) and _is_storable(value, MOST_VALUE_CHARACTERS)):
            raise InvalidValueError(
                "metadata",
                f"texts of at most {MOST_VALUE_CHARACTERS} characters under names of at most {MOST_NAME_CHARACTERS}, "
                "without NUL characters",
            )
    return given


def _is_storable(value: Any, most: int) -> bool:
    return isinstance(value, str) and len(value) <= most and "\0" not in value


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())

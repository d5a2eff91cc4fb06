"""What a program makes under an `Idempotency-Key` of its choice is made once, however often and at once it asks.

That it was made, and what was answered, is committed together with it: a process that dies in between leaves neither,
and whoever asks again makes it. A refusal is not kept, for nothing came of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from psycopg.errors import LockNotAvailable

from batches.asked import is_id
from batches.models import MadeOnce
from batches.places import Place, place_of
from common.errors import BeingMadeError, IdempotencyKeyReusedError, InvalidValueError
from usage.policies import Caller

HEADER = "Idempotency-Key"
MOST_CHARACTERS = 255
KEPT = timedelta(hours=24)
# How long one who asks for the same waits for the answer of the first.
PATIENCE = "2s"


@dataclass(frozen=True)
class Once:
    """The key that a request came with, and a digest of all else that it said."""

    key: str
    digest: str


def key_in(given: str | None) -> str:
    """The key of a request; empty when it has none.

    Raises InvalidValueError.
    """
    if given is None:
        return ""
    if not 1 <= len(given) <= MOST_CHARACTERS or not is_id(given):
        raise InvalidValueError(HEADER, f"1 to {MOST_CHARACTERS} printable ASCII characters")
    return given


def answer_before(caller: Caller, once: Once) -> bytes | None:
    """What was answered when this was made; None when it is yet to be.

    Raises IdempotencyKeyReusedError when something else was made under the key.
    """
    made = _known(place_of(caller), once).filter(created_at__gt=timezone.now() - KEPT).first()
    return None if made is None else _answer(made, once)


def make(caller: Caller, once: Once, work: Callable[[], bytes]) -> tuple[bytes, bool]:
    """What `work` answers, and True; or what it answered when it was done before, and False.

    Raises IdempotencyKeyReusedError as above, and BeingMadeError while another request is at it.
    """
    place = place_of(caller)
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
            _known(place, once).filter(created_at__lte=timezone.now() - KEPT).delete()
            # Until the first has committed, the unique index lets no second one past this line.
            made, is_first = MadeOnce.objects.get_or_create(
                project=place.project,
                participant=place.participant,
                idempotency_key=once.key,
                defaults={"key": place.key, "digest": once.digest},
            )
            if is_first:
                made.answer = work().decode()
                made.save(update_fields=["answer"])
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise BeingMadeError from error
        raise
    return _answer(made, once), is_first


def forget() -> None:
    """Delete what was kept for long enough."""
    MadeOnce.objects.filter(created_at__lte=timezone.now() - KEPT).delete()


def _known(place: Place, once: Once) -> "QuerySet[MadeOnce]":
    return MadeOnce.objects.filter(project=place.project, participant=place.participant, idempotency_key=once.key)


def _answer(made: MadeOnce, once: Once) -> bytes:
    if made.digest != once.digest:
        raise IdempotencyKeyReusedError
    return made.answer.encode()

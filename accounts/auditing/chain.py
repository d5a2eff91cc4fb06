"""Walking the seals of the audit log: is every event as it was written, and is none missing?"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection, transaction

CHUNK = 2000

# Outer on both sides: an event whose seal is gone and a seal whose event is gone are found alike.
ROWS = """
SELECT coalesce(seal.month, date_trunc('month', event.at AT TIME ZONE 'UTC')::date) AS month, seal.number,
    coalesce(seal.event_id, event.id)::text, seal.hash, event.id IS NULL,
    ARRAY[
        event.id::text, ((extract(epoch FROM event.at) * 1000000)::bigint)::text, event.action, event.actor,
        event.organization_id, event.target_kind, event.target_id, event.target_label, event.before::text,
        event.after::text, event.request_id
    ]
FROM accounts_auditseal AS seal FULL JOIN accounts_auditevent AS event
    ON event.id = seal.event_id AND date_trunc('month', event.at AT TIME ZONE 'UTC')::date = seal.month
ORDER BY 1, seal.number NULLS LAST, 3
"""


@dataclass(frozen=True, slots=True)
class Month:
    """A month whose chain holds. `last_hash` proves it to whoever wrote it down elsewhere."""

    month: date
    events: int
    last_hash: str


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where a chain does not hold."""

    month: date
    number: int | None
    event_id: str
    reason: str


def walk() -> Iterator[Month | Break]:
    """Every month, oldest first; ends with the first break when there is one."""
    month: Month | None = None
    for row_month, number, event_id, sealed, is_missing, parts in _rows():
        if month is None or month.month != row_month:
            if month is not None:
                yield month
            month = Month(row_month, 0, "")
        reason = _fault(month, number, sealed, is_missing, parts)
        if reason:
            yield Break(row_month, number, event_id, reason)
            return
        month = Month(row_month, month.events + 1, sealed)
    if month is not None:
        yield month


def _fault(month: Month, number: int | None, sealed: str, is_missing: bool, parts: list[str]) -> str:
    """What is wrong with the next row of a month; empty when nothing is."""
    if number is None:
        return "the event has no seal: it was put in around the log, or its seal was taken away"
    if number != month.events + 1:
        return f"seal {month.events + 1} is missing: it was taken away, or the seals were numbered anew"
    if is_missing:
        return "the event is missing: it was taken away"
    if hash_of(month.last_hash, parts) != sealed:
        return "the event or its seal was altered"
    return ""


def hash_of(previous: str, parts: list[str]) -> str:
    """What the seal of an event must say, given the seal before it in its month."""
    text = previous + "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()


def _rows() -> Iterator[tuple[Any, ...]]:
    # In one snapshot and in portions: events are added meanwhile, and a log may be longer than memory.
    with transaction.atomic(), connection.cursor() as ordinary:
        ordinary.execute("SET LOCAL statement_timeout = 0")
        with connection.chunked_cursor() as cursor:
            cursor.execute(ROWS)
            while rows := cursor.fetchmany(CHUNK):
                yield from rows

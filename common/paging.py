"""Keyset pagination: a page is found by the values of its last row, so that page 10,000 costs what page 1 costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core import signing
from django.db.models import Model, Q, QuerySet

M = TypeVar("M", bound=Model)
SALT = "common.paging"


@dataclass(frozen=True)
class Page(Generic[M]):
    """One page of a list. `newer` and `older` are cursors for the pages before and after it, None at the ends."""

    items: list[M]
    newer: str | None
    older: str | None


def keyset_page(*parts: "QuerySet[M]", by: str, cursor: str | None, size: int = 25, ascending: bool = False) -> Page[M]:
    """A page of a list, greatest `by` first and then greatest primary key; the other way round when `ascending`.

    The list is all rows of `parts`, of which no two have a row in common: each is read along its own index, in one
    query. `cursor` is a value that an earlier page of this order gave (signed; any other gives the first page).
    """
    order = f"{parts[0].model._meta.label}.{by}.{ascending}"
    direction, bound = _read(cursor, order)
    downwards = (direction == "older") != ascending
    if bound is not None:
        value, pk = bound
        parts = tuple(part.filter(_beyond(by, value, pk, downwards)) for part in parts)
    rows = list(_first(parts, size + 1, by=("-" if downwards else "") + by, pk="-pk" if downwards else "pk"))
    more = len(rows) > size
    rows = rows[:size]
    if direction == "newer":
        rows.reverse()
    has_newer = more if direction == "newer" else bound is not None
    has_older = more if direction == "older" else bound is not None
    return Page(
        items=rows,
        newer=_write("newer", rows[0], by, order) if rows and has_newer else None,
        older=_write("older", rows[-1], by, order) if rows and has_older else None,
    )


def _first(parts: "Sequence[QuerySet[M]]", number: int, *, by: str, pk: str) -> "QuerySet[M]":
    found, *others = (part.order_by(by, pk)[:number] for part in parts)
    return found.union(*others, all=True).order_by(by, pk)[:number] if others else found


def _beyond(by: str, value: Any, pk: int | str, downwards: bool) -> Q:
    # The redundant bound on the first column is what lets PostgreSQL use the index: 0.5 ms instead of 500.
    if downwards:
        return Q(**{f"{by}__lte": value}) & (Q(**{f"{by}__lt": value}) | Q(pk__lt=pk))
    return Q(**{f"{by}__gte": value}) & (Q(**{f"{by}__gt": value}) | Q(pk__gt=pk))


def _write(direction: str, row: Model, by: str, order: str) -> str:
    value = getattr(row, by)
    encoded = value.isoformat() if hasattr(value, "isoformat") else value
    pk = row.pk if isinstance(row.pk, int) else str(row.pk)
    # The order is part of the salt: a name would be no bound for a list by time, nor a number for one by UUID.
    return signing.dumps([direction, encoded, pk], salt=f"{SALT}.{order}")


def _read(cursor: str | None, order: str) -> tuple[str, tuple[Any, int | str] | None]:
    if not cursor:
        return "older", None
    try:
        direction, value, pk = signing.loads(cursor, salt=f"{SALT}.{order}")
    except (signing.BadSignature, ValueError):
        return "older", None
    return direction, (value, pk)

"""Keyset pagination: a page is found by the values of its last row, so that page 10,000 costs what page 1 costs."""

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


def keyset_page(
    queryset: "QuerySet[M]", *, by: str, cursor: str | None, size: int = 25, ascending: bool = False
) -> Page[M]:
    """A page of `queryset`, greatest `by` first and then greatest primary key; the other way round when `ascending`.

    `cursor` is a value that an earlier page of this order gave (signed; any other gives the first page).
    """
    order = f"{queryset.model._meta.label}.{by}.{ascending}"
    direction, bound = _read(cursor, order)
    downwards = (direction == "older") != ascending
    ordered = queryset.order_by(f"-{by}", "-pk") if downwards else queryset.order_by(by, "pk")
    if bound is not None:
        value, pk = bound
        ordered = ordered.filter(_beyond(by, value, pk, downwards))
    rows = list(ordered[: size + 1])
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

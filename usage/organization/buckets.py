"""Usage in buckets of time, as OpenAI's usage API cuts it: days and hours are UTC's, and the one that runs is there.

Hours and days are summed from the roll-ups, and where the time asked for begins or ends within a quarter of an hour,
from the calls of the ledger. Minutes come from the ledger alone.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Count, DateTimeField, F, Func, Model, Q, Value

from apikeys.models import ApiKey
from common.errors import InvalidRequestError
from usage.measures import Measures
from usage.models import Source, UsageEvent, UsageRollup15Min, began

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE, QUARTER, HOUR, DAY = 60, 900, 3600, 86_400
MOST_ROWS = 10_000
"""A page ends early rather than hold more results than this."""

DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    "project_id": ("project_id",),
    # A key's calls are those of the person who made it, whom the sums do not name.
    "user_id": ("user_id", "key_id"),
    "api_key_id": ("key_id",),
    "model": ("model",),
    "batch": ("source",),
}
"""What usage is told apart by, and the columns it takes."""
Name = str | bool | None
"""By what one of them is called: an id, a model, whether it is a batch."""


@dataclass(frozen=True)
class Scale:
    """How long a bucket is, and how many of them a page has."""

    seconds: int
    usual: int
    most: int


@dataclass(frozen=True)
class Used(Measures):
    """What was used."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0


@dataclass(frozen=True)
class Bucket:
    """A stretch of time in Unix seconds, and what was used in it by `names`: a value for each dimension asked for."""

    start: int
    end: int
    results: Sequence[tuple[Mapping[str, Name], Used]]


@dataclass(frozen=True)
class Page:
    """Buckets without a gap between them, and where the next page begins; None where the time asked for ends."""

    buckets: Sequence[Bucket]
    next_start: int | None


@dataclass(frozen=True)
class _Piece:
    """A stretch of time and the table that its usage is read from."""

    table: type[Model]
    start: int
    end: int


def usage_in_buckets(
    condition: Q, *, dimensions: Sequence[str], scale: Scale, start: int, end: int, limit: int, now: int
) -> Page:
    """Up to `limit` buckets from `start` on; the first and the last are cut where the time asked for begins and ends.

    `condition` holds for the roll-ups and for the ledger alike. Raises InvalidRequestError when a single bucket holds
    more results than a page may.
    """
    edges, next_start = _edges(scale, start=start, end=end, limit=limit)
    columns = sorted({column for dimension in dimensions for column in DIMENSIONS[dimension]})
    rows: list[dict[str, Any]] = []
    for piece in _pieces(scale, start=start, end=edges[-1], now=now) if len(edges) > 1 else ():
        rows += _rows(piece, condition, columns=columns, scale=scale, most=MOST_ROWS + 1 - len(rows))
        if len(rows) > MOST_ROWS:
            # The last bucket that was read may lack some: the next page begins with it.
            next_start = _seconds(rows[-1]["slot"])
            if next_start <= start:
                raise InvalidRequestError(
                    f"One bucket would hold more than {MOST_ROWS} results. Group by less, or name some projects.",
                    param="group_by",
                )
            edges = [edge for edge in edges if edge <= next_start]
            break
    found = _merged(rows, dimensions)
    return Page(
        buckets=[Bucket(first, last, results=found[_floor(first, scale.seconds)]) for first, last in pairwise(edges)],
        next_start=next_start,
    )


def _edges(scale: Scale, *, start: int, end: int, limit: int) -> tuple[list[int], int | None]:
    """Where buckets begin and end, and where those begin that there is no room for."""
    edges = [start]
    while edges[-1] < end and len(edges) <= limit:
        edges.append(min(_floor(edges[-1], scale.seconds) + scale.seconds, end))
    return edges, edges[-1] if edges[-1] < end else None


def _pieces(scale: Scale, *, start: int, end: int, now: int) -> list[_Piece]:
    if scale.seconds < QUARTER:
        return [_Piece(UsageEvent, start, end)]
    first = min(_floor(start + QUARTER - 1, QUARTER), end)
    # The quarter that runs is in the sums as far as it has come.
    last = end if end >= now else max(_floor(end, QUARTER), first)
    pieces = (_Piece(UsageEvent, start, first), _Piece(UsageRollup15Min, first, last), _Piece(UsageEvent, last, end))
    return [piece for piece in pieces if piece.start < piece.end]


def _rows(piece: _Piece, condition: Q, *, columns: Sequence[str], scale: Scale, most: int) -> list[dict[str, Any]]:
    is_ledger = piece.table is UsageEvent
    at = "at" if is_ledger else "bucket_at"
    slot = Func(
        Value(timedelta(seconds=scale.seconds)),
        F(at),
        Value(EPOCH),
        function="date_bin",
        output_field=DateTimeField(),
    )
    # A call of the ledger is a request, and has no column that says so.
    sums = Used.sums(**({"requests": Count("pk")} if is_ledger else {}))
    start, end = _moment(piece.start), _moment(piece.end)
    time = began(start, end) if is_ledger else Q(bucket_at__gte=start, bucket_at__lt=end)
    rows = piece.table._default_manager.filter(condition, time).annotate(slot=slot)
    return list(rows.values("slot", *columns).annotate(**sums).order_by("slot")[:most])


def _merged(
    rows: Sequence[dict[str, Any]], dimensions: Sequence[str]
) -> Mapping[int, Sequence[tuple[Mapping[str, Name], Used]]]:
    """The results by the beginning of their whole bucket, the busiest first."""
    makers = (
        ApiKey.objects.filter(public_id__in={row["key_id"] for row in rows}).makers() if "user_id" in dimensions else {}
    )
    sums: dict[int, dict[tuple[Name, ...], Used]] = defaultdict(dict)
    for row in rows:
        names = tuple(_name(row, dimension, makers) for dimension in dimensions)
        used = Used.read(row)
        cells = sums[_seconds(row["slot"])]
        cells[names] = cells[names] + used if names in cells else used
    found: dict[int, Sequence[tuple[Mapping[str, Name], Used]]] = defaultdict(list)
    for slot, cells in sums.items():
        ordered = sorted(cells.items(), key=lambda cell: (-cell[1].requests, [str(name or "") for name in cell[0]]))
        found[slot] = [(dict(zip(dimensions, names, strict=True)), used) for names, used in ordered]
    return found


def _name(row: Mapping[str, str], dimension: str, makers: Mapping[str, str]) -> Name:
    if dimension == "user_id":
        return row["user_id"] or makers.get(row["key_id"])
    if dimension == "batch":
        return row["source"] == Source.BATCH
    (column,) = DIMENSIONS[dimension]
    return row[column] or None


def _floor(seconds: int, step: int) -> int:
    return seconds // step * step


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)

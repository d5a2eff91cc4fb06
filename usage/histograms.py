"""How calls were spread over time, in one number that can be summed.

A histogram counts calls in 80 buckets of milliseconds, each a fifth wider than the one before, up to half an hour. The
counts stand in one whole number, twelve decimal digits to each, so that adding two numbers adds up all their counts:
PostgreSQL's `sum` merges histograms as fast as it sums, and one of few calls is as small as few numbers, for it stores
no zeros at either end. A percentile that is told from it is at most a tenth off, or two milliseconds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import DecimalField

GROWTH = 1.2
BUCKETS = 80
DIGITS = 12
_BASE = 10**DIGITS


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds within which half of the calls, 95 of 100 and 99 of 100 were over."""

    p50: float
    p95: float
    p99: float


def field() -> "DecimalField[Decimal | int, Decimal]":
    """A column for a histogram; empty at first."""
    return DecimalField(max_digits=BUCKETS * DIGITS, decimal_places=0, default=0, db_default=0)


def of_one(milliseconds: str) -> str:
    """In SQL, the histogram of one call that took `milliseconds`, a column that is not NULL."""
    bucket = f"least({BUCKETS - 1}, floor(ln(greatest({milliseconds}, 1)) / {math.log(GROWTH)!r}::float8)::int)"
    # Written as text, a power of ten is read at once; `power` would multiply.
    return f"('1e' || {DIGITS} * {bucket})::numeric"


def percentiles(histogram: int) -> Percentiles | None:
    """What a histogram tells; None when it counts no call."""
    counts = list(_counts(histogram))
    calls = sum(counts)
    if not calls:
        return None
    return Percentiles(*(_within(counts, math.ceil(calls * percent / 100)) for percent in (50, 95, 99)))


def _counts(histogram: int) -> Iterator[int]:
    while histogram:
        histogram, count = divmod(histogram, _BASE)
        yield count


def _within(counts: list[int], rank: int) -> float:
    """The middle, as a bucket grows, of the bucket that the call of this rank is in."""
    for bucket, count in enumerate(counts):
        rank -= count
        if rank <= 0:
            return float(GROWTH ** (bucket + 0.5))
    raise ValueError("There are fewer calls than that.")

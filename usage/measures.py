"""Counts that are summed in PostgreSQL and added up here."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from django.db.models import Aggregate, Sum


@dataclass(frozen=True)
class Measures:
    """A base for classes of counts, whose fields are named like the columns that they are summed from."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @classmethod
    def sums(cls, **others: Aggregate) -> dict[str, Aggregate]:
        """The aggregates that `read` reads; `others` are for fields that are no sums of a column."""
        # Prefixed, because an aggregate may not bear the name of a column.
        return {f"sum_{field.name}": others.get(field.name) or Sum(field.name) for field in fields(cls)}

    @classmethod
    def read(cls, row: Mapping[str, int]) -> Self:
        """What a row of those aggregates holds."""
        # PostgreSQL sums big integers as numerics, which arrive as Decimals.
        return cls(*(int(row[f"sum_{field.name}"]) for field in fields(cls)))

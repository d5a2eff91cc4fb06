"""What each app holds about people: how to hand it out, and how to erase it.

An app registers in `AppConfig.ready()`. A test goes through the schema and fails for a model that refers to a person
and is named in nobody's `exports`, or in nobody's `erases`, unless `keeps` says why that is right.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet

from accounts.models import User


@dataclass(frozen=True)
class Document:
    """One file of an export, in pieces, so that a hundred thousand rows need not be in memory at once."""

    path: str
    pieces: Iterable[str]


@dataclass(frozen=True)
class Holding:
    """What one app holds. `keeps` says of a model why nothing of it is exported or erased.

    `cut_off` ends at once what a person could still do; `erase` runs later, may be slow, and can run twice.
    """

    app: str
    exports: frozenset[str]
    erases: frozenset[str]
    export: Callable[[User], Iterable[Document]]
    erase: Callable[[User], None]
    cut_off: Callable[[User], None] | None = None
    keeps: Mapping[str, str] = field(default_factory=dict)


_holdings: dict[str, Holding] = {}


def register(holding: Holding) -> None:
    _holdings[holding.app] = holding


def holdings() -> list[Holding]:
    """The highest app first: what rests on an account goes before the account."""
    return list(reversed(_holdings.values()))


def as_json(path: str, rows: Iterable[Mapping[str, Any]]) -> Document:
    """A file that is one JSON array."""
    return Document(path, _array(rows))


def as_table(path: str, rows: QuerySet[Any], *fields: str) -> Document:
    """A file with these fields of these rows."""
    return as_json(path, rows.values(*fields).iterator(chunk_size=2000))


def _array(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "["
    for number, row in enumerate(rows):
        yield ("," if number else "") + "\n  " + json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False)
    yield "\n]\n"

"""What is asked about files and batches, and lists as OpenAI gives them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from inference.checks import Body
from usage.organization.asked import Parameters
from usage.policies import Caller

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Asked:
    """A question: who asks, `ids` in the path, the query string and the JSON body."""

    caller: Caller
    ids: Mapping[str, str]
    parameters: Parameters
    body: Body = field(default_factory=dict)


def is_id(text: str) -> bool:
    """Whether the database can be asked for it: it holds neither NULs nor half characters."""
    return text.isascii() and text.isprintable()


def listed(
    parameters: Parameters,
    rows: "QuerySet[M]",
    *,
    after: M | None,
    usual: int,
    most: int,
    as_object: Callable[[M], dict[str, Any]],
) -> dict[str, Any]:
    """Some of the rows, the newest first unless `order` says otherwise, from the one behind `after` on."""
    limit = parameters.limit(usual=usual, most=most)
    is_ascending = parameters.word("order", ("asc", "desc")) == "asc"
    if after is not None:
        rows = rows.filter(pk__gt=after.pk) if is_ascending else rows.filter(pk__lt=after.pk)
    found = list(rows.order_by("pk" if is_ascending else "-pk")[: limit + 1])
    data = [as_object(row) for row in found[:limit]]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > limit,
    }

"""What is held about a person's calls."""

from collections.abc import Iterator

from django.db.models import Q

from accounts.holdings import Document, Holding, as_table
from accounts.models import User
from apikeys.models import ApiKey
from usage.models import UsageEvent, UsageRollup15Min

_ID_STANDS_FOR_NOBODY = "Sums are kept; the id in them stands for nobody once the account has another."


def export(user: User) -> Iterator[Document]:
    keys = ApiKey.objects.made_by([user.public_id])
    own = Q(user_id=user.public_id) | Q(key_id__in=list(keys.values_list("public_id", flat=True)))
    figures = ("requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_nano")
    yield as_table(
        "usage/sums.json",
        UsageRollup15Min.objects.filter(own).order_by("bucket_at"),
        *("bucket_at", "source", "project_id", "key_id", "model", "endpoint", *figures),
    )
    call = ("at", "request_id", "source", "project_id", "key_id", "model", "endpoint", "status", "error_code")
    yield as_table(
        "usage/calls.json",
        UsageEvent.objects.filter(own).order_by("at"),
        *(*call, "prompt_tokens", "completion_tokens", "cost_nano", "latency_ms", "asked_model", "client", "retries"),
    )


def erase(user: User) -> None:
    """Nothing: see `keeps`."""


HOLDING = Holding(
    app="usage",
    exports=frozenset({"usage.UsageEvent", "usage.UsageRollup15Min"}),
    erases=frozenset(),
    export=export,
    erase=erase,
    keeps={
        "usage.UsageEvent": _ID_STANDS_FOR_NOBODY,
        "usage.UsageRollup5Min": "The same sums as those of a quarter of an hour, which are exported.",
        "usage.UsageKeyDay": "Made of the same calls as the sums of a quarter of an hour, which are exported.",
        "usage.UsageRollup15Min": _ID_STANDS_FOR_NOBODY,
    },
)

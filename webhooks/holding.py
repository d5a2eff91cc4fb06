"""What is held about who made an endpoint, and about people in what endpoints are told."""

from collections.abc import Iterator

from accounts.holdings import Document, Holding, as_table
from accounts.models import User
from webhooks.models import Endpoint


def export(user: User) -> Iterator[Document]:
    yield as_table(
        "webhooks/endpoints.json",
        Endpoint.objects.filter(created_by=user),
        *("public_id", "organization__public_id", "url", "description", "event_types", "created_at", "disabled_at"),
    )


def erase(user: User) -> None:
    """The endpoint is its organization's, and goes on."""
    Endpoint.objects.filter(created_by=user).update(created_by=None)


HOLDING = Holding(
    app="webhooks",
    exports=frozenset({"webhooks.Endpoint"}),
    erases=frozenset({"webhooks.Endpoint"}),
    export=export,
    erase=erase,
    keeps={
        "webhooks.Message": "Names people by an id, which stands for nobody once the account has another; for a month.",
    },
)

"""What is held about members of staff who set prices."""

from collections.abc import Iterator

from accounts.holdings import Document, Holding, as_table
from accounts.models import User
from catalog.models import ModelPrice


def export(user: User) -> Iterator[Document]:
    yield as_table(
        "catalog/prices.json",
        ModelPrice.objects.filter(set_by=user).order_by("since"),
        *("model", "since", "input_price_nano", "output_price_nano"),
    )


def erase(user: User) -> None:
    """The price stays: it is what developers paid."""
    ModelPrice.objects.filter(set_by=user).update(set_by=None)


HOLDING = Holding(
    app="catalog",
    exports=frozenset({"catalog.ModelPrice"}),
    erases=frozenset({"catalog.ModelPrice"}),
    export=export,
    erase=erase,
)

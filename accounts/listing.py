"""What a list shows, as its address says: the words sought, and the order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from common.paging import Page, keyset_page

M = TypeVar("M", bound=Model)
PER_PAGE = 50


@dataclass(frozen=True)
class Order:
    """A way to sort a list: by this column, least first when `ascending`."""

    label: str | Promise
    by: str
    ascending: bool = False


NEWEST = Order(_("Newest first"), "created_at")
OLDEST = Order(_("Oldest first"), "created_at", ascending=True)
BY_NAME = Order(_("Name"), "sort_name", ascending=True)


@dataclass(frozen=True)
class Listing:
    """One reading of a list. An order that the list does not have is its first."""

    query: str
    sort: str
    orders: Mapping[str, Order]
    cursor: str | None

    @classmethod
    def of(cls, request: HttpRequest, orders: Mapping[str, Order]) -> "Listing":
        asked = request.GET.get("sort", "")
        return cls(
            query=request.GET.get("q", "").strip(),
            sort=asked if asked in orders else next(iter(orders)),
            orders=orders,
            cursor=request.GET.get("cursor"),
        )

    def page(self, *parts: "QuerySet[M]") -> Page[M]:
        """A page of the rows of all `parts`, as `keyset_page` reads them."""
        order = self.orders[self.sort]
        return keyset_page(*parts, by=order.by, ascending=order.ascending, cursor=self.cursor, size=PER_PAGE)

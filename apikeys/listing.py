"""The list of keys: what its address asks for, for the page and for the REST API."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from apikeys.models import ApiKey, ApiKeyQuerySet, KeyKind, KeyState
from common.paging import Page, keyset_page

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
SORTS = {"newest": _("Newest first"), "name": _("By name"), "used": _("Last used first")}
OWNERS = {"me": _("Mine"), "people": _("People’s"), "services": _("Service accounts’")}
KINDS = (KeyKind.PROJECT, KeyKind.SERVICE)
MOST_QUERY_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class KeyFilters:
    """What a list of keys is narrowed to and how it is sorted. Whatever is not understood is as if not asked."""

    query: str = ""
    kind: str = ""
    state: str = ""
    owner: str = ""
    sort: str = "newest"

    @classmethod
    def read(cls, asked: Mapping[str, str]) -> "KeyFilters":
        def one_of(name: str, known: Mapping[str, object] | list[str]) -> str:
            value = asked.get(name, "")
            return value if value in known else ""

        query = asked.get("q", "").strip()[:MOST_QUERY_CHARACTERS]
        return cls(
            query=query,
            kind=one_of("kind", [kind.value for kind in KINDS]),
            state=one_of("state", KeyState.values),
            owner=one_of("owner", OWNERS),
            sort=one_of("sort", SORTS) or "newest",
        )

    @property
    def is_narrowed(self) -> bool:
        return bool(self.query or self.kind or self.state or self.owner)

    @property
    def orders_by(self) -> str:
        return {"newest": "created_at", "name": "name", "used": "used_at"}[self.sort]

    @classmethod
    def words_and_order(cls, asked: Mapping[str, str]) -> "KeyFilters":
        """For a list that is narrowed by something else of its own."""
        return cls.read({name: value for name, value in asked.items() if name in {"q", "sort"}})

    def page(self, keys: ApiKeyQuerySet, cursor: str | None) -> Page[ApiKey]:
        """A page of `keys`, to which these filters were applied."""
        return keyset_page(keys, by=self.orders_by, cursor=cursor, ascending=self.sort == "name")

    def address(self) -> str:
        """The query string that asks for the same."""
        values = {"q": self.query, "kind": self.kind, "state": self.state, "owner": self.owner, "sort": self.sort}
        return urlencode({name: value for name, value in values.items() if value})

    def apply(self, keys: ApiKeyQuerySet, user: User) -> ApiKeyQuerySet:
        """Those of `keys` that are asked for, as `user` sees them."""
        if self.query:
            words = Q(name__icontains=self.query) | Q(description__icontains=self.query) | Q(public_id=self.query)
            keys = keys.filter(words | Q(last4=self.query[-4:], prefix=self.query.partition("…")[0]))
        if self.kind:
            keys = keys.filter(kind=self.kind)
        if self.state:
            keys = keys.in_state(KeyState(self.state))
        if self.owner == "me":
            keys = keys.made_by([user.public_id])
        elif self.owner:
            keys = keys.filter(service_account__isnull=self.owner == "people")
        if self.sort == "used":
            keys = keys.annotate(used_at=Coalesce("last_used_at", NEVER))
        return keys

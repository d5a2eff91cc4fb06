"""The list of keys: what its address asks for, for the page and for the REST API."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from accounts.listing import NEWEST, Order
from accounts.models import User
from apikeys.models import ApiKeyQuerySet, KeyKind, KeyState

ORDERS = {
    "newest": NEWEST,
    "name": Order(_("By name"), "name", ascending=True),
    "used": Order(_("Last used first"), "used_at"),
}
OWNERS = {"me": _("Mine"), "people": _("People’s"), "services": _("Service accounts’")}
KINDS = (KeyKind.PROJECT, KeyKind.SERVICE)
MOST_QUERY_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class KeyFilters:
    """What a list of keys is narrowed to. Whatever is not understood is as if not asked."""

    query: str = ""
    kind: str = ""
    state: str = ""
    owner: str = ""

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
        )

    @property
    def is_narrowed(self) -> bool:
        return bool(self.query or self.kind or self.state or self.owner)

    def apply(self, keys: ApiKeyQuerySet, user: User) -> ApiKeyQuerySet:
        """Those of `keys` that are asked for, as `user` sees them."""
        if self.query:
            keys = keys.matching(self.query)
        if self.kind:
            keys = keys.filter(kind=self.kind)
        if self.state:
            keys = keys.in_state(KeyState(self.state))
        if self.owner == "me":
            keys = keys.made_by([user.public_id])
        elif self.owner:
            keys = keys.filter(service_account__isnull=self.owner == "people")
        return keys

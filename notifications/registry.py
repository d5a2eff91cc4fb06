"""Kinds of notification, and who may read what they are about. Higher apps register both in `AppConfig.ready()`."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from django.utils.functional import Promise

from accounts.models import User

Reader = Callable[[User, Collection[str]], set[str]]


@dataclass(frozen=True)
class Kind:
    """How one kind of event is told.

    `one` may name %(actor)s, %(title)s and the facts that the event was told with, `many` %(count)s and %(title)s; both
    are lazily translated. Events of kinds
    with the same `group` share one unread row per object. Where each undoes the one before there is no `many`: the
    row says how things stand, which is what the latest event says.
    """

    name: str
    group: str
    one: str | Promise
    many: str | Promise = ""


_kinds: dict[str, Kind] = {}
_readers: dict[str, Reader] = {}


def register(kind: Kind) -> None:
    _kinds[kind.name] = kind


def kind_named(name: str) -> Kind:
    """The registered kind.

    Raises KeyError for a name nobody registered: a mistake in the code that notifies.
    """
    return _kinds[name]


def register_reader(prefix: str, reader: Reader) -> None:
    """`reader` says which of the ids that begin with `prefix` a person may read now."""
    _readers[prefix] = reader


def readable(user: User, ids: Collection[str]) -> set[str]:
    """Those of `ids` that the user may read now. An id with no reader is not readable."""
    allowed: set[str] = set()
    for prefix, reader in _readers.items():
        asked = {one for one in ids if one.startswith(prefix)}
        if asked:
            allowed |= reader(user, asked)
    return allowed

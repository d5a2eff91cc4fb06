"""What apps tell the search in `AppConfig.ready()`: the names of their documents, and what leads straight to a page."""

from collections.abc import Callable

from django.utils.functional import Promise

_labels: dict[str, str | Promise] = {}
_plurals: dict[str, str | Promise] = {}
_jumps: list[Callable[[str], str | None]] = []


def register(kind: str, label: str | Promise, *, plural: str | Promise = "") -> None:
    """Name a kind of document, one and, where that is another word, many; both are lazily translated."""
    _labels[kind] = label
    _plurals[kind] = plural or label


def label_of(kind: str) -> str:
    """The name of the kind in the reader's language; the kind itself when nobody named it."""
    return str(_labels.get(kind, kind))


def labels() -> dict[str, str]:
    """Every named kind and what many of it are called in the reader's language."""
    return {kind: str(label) for kind, label in _plurals.items()}


def register_jump(address_of: Callable[[str], str | None]) -> None:
    """Have queries lead to a page instead of results: `address_of` gives its address, None for any other query."""
    _jumps.append(address_of)


def address_of(query: str) -> str | None:
    """The address of the page that a query leads to; None where it is to be searched for."""
    return next((address for jump in _jumps if (address := jump(query))), None)

"""What each kind of document is called on the results page. Apps say so in `AppConfig.ready()`."""

from django.utils.functional import Promise

_labels: dict[str, str | Promise] = {}
_plurals: dict[str, str | Promise] = {}


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

"""Changing what others may change at the same time: their changes are not set back unseen."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


class ChangedMeanwhileError(Exception):
    """Somebody else changed the same since it was shown. `now` says by name what is there."""

    def __init__(self, now: dict[str, Any]) -> None:
        super().__init__(", ".join(now))
        self.now = now


def plain(value: Any) -> Any:
    """A value as JSON holds it, so that it can be compared: moments in UTC, lists in no order of their own."""
    if isinstance(value, list | tuple):
        return sorted(value)
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def check_unchanged(edits: Mapping[str, Any], *, shown: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """Raise ChangedMeanwhileError where somebody else changed what `edits` are to change, to something else.

    `shown` holds plain values; None is for programs, which were shown nothing and mean what they say.
    """
    if shown is None:
        return
    theirs = {
        name: now[name] for name, value in edits.items() if plain(now[name]) not in (shown.get(name), plain(value))
    }
    if theirs:
        raise ChangedMeanwhileError(theirs)

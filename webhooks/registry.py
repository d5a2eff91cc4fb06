"""The kinds of event that programs can be told about. Apps register theirs in `AppConfig.ready()`."""

from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise


@dataclass(frozen=True)
class EventType:
    """A kind of event: its name on the wire, when it is sent, and what its `data` looks like."""

    name: str
    description: str | Promise
    example: dict[str, Any]


_types: dict[str, EventType] = {}


def register(event_type: EventType) -> None:
    _types[event_type.name] = event_type


def event_types() -> list[EventType]:
    """Every registered type, by name."""
    return [_types[name] for name in sorted(_types)]


def is_registered(name: str) -> bool:
    return name in _types

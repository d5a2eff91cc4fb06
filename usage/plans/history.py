"""What was changed of a plan, in words."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import PlanChange
from common.limits import LABELS, limit_in_words
from common.money import exact_dollars

NAMES: dict[str, str | Promise] = {
    "name": gettext_lazy("Name"),
    "description": gettext_lazy("Description"),
    "position": gettext_lazy("Position"),
    "is_open": gettext_lazy("Open to all"),
    "is_default": gettext_lazy("For new organizations"),
    "is_archived": gettext_lazy("Archived"),
    **LABELS,
    "allowed_models": gettext_lazy("Models"),
    "prices": gettext_lazy("Prices"),
    "plan": gettext_lazy("Plan"),
}


@dataclass(frozen=True)
class Line:
    """One thing that was changed at once with others."""

    label: str | Promise
    before: str
    after: str


@dataclass(frozen=True)
class Entry:
    """A change and what it changed. Where there was nothing before, only what there is since."""

    change: PlanChange
    lines: list[Line]


def told(changes: Iterable[PlanChange]) -> list[Entry]:
    """The changes in words; what was empty and is empty is left out."""
    return [
        Entry(
            change,
            [
                Line(label, value_in_words(name, change.before.get(name)), value_in_words(name, change.after[name]))
                for name, label in NAMES.items()
                if change.after.get(name) or change.before.get(name)
            ],
        )
        for change in changes
    ]


def value_in_words(name: str, value: Any) -> str:
    """What a plan has under this name, as people read it; empty for nothing."""
    if name in LABELS:
        return "" if value is None else limit_in_words(name, value)
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    if isinstance(value, dict):
        return ", ".join(
            f"{model} {exact_dollars(prices[0])} / {exact_dollars(prices[1])}" for model, prices in value.items()
        )
    return ", ".join(value) if isinstance(value, list) else str(value or "")

"""The limits a thing can carry: an abstract set of columns, inherited by keys and by every other scope alike."""

from dataclasses import dataclass, fields
from typing import Any

from django import forms
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from common.forms import MOST_PERCENTS, DollarsField, PercentsField
from common.money import exact_dollars

LARGEST_COUNT = 2**31 - 1
LARGEST_TOKENS = 10**15
# Nano-dollars that Lua, whose numbers are doubles, still counts one by one.
LARGEST_MONEY = 9 * 10**15
ALERTS = "alert_percents"
"""What is chosen beside the limits: at which percentages of each budget people are told."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one scope may use. None means that the scope sets no limit of that kind.

    Days, weeks (from Monday) and months are those of the organization's time zone.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    gpu_seconds_per_day: int | None = None
    daily_budget_nano: int | None = None
    weekly_budget_nano: int | None = None
    monthly_budget_nano: int | None = None

    @property
    def has_budget(self) -> bool:
        """Whether it limits money."""
        return (self.daily_budget_nano, self.weekly_budget_nano, self.monthly_budget_nano) != (None,) * 3

    @property
    def has_periods(self) -> bool:
        """Whether it limits anything by the day, the week or the month."""
        return self.has_budget or (self.requests_per_day, self.tokens_per_day, self.gpu_seconds_per_day) != (None,) * 3


NO_LIMITS = Limits()
LIMITS = tuple(field.name for field in fields(Limits))

LABELS: dict[str, str | Promise] = {
    "requests_per_minute": _("Requests per minute"),
    "tokens_per_minute": _("Tokens per minute"),
    "concurrent_requests": _("Requests at the same time"),
    "requests_per_day": _("Requests per day"),
    "tokens_per_day": _("Tokens per day"),
    "gpu_seconds_per_day": _("GPU-seconds per day"),
    "daily_budget_nano": _("Budget per day"),
    "weekly_budget_nano": _("Budget per week"),
    "monthly_budget_nano": _("Budget per month"),
    ALERTS: _("Budget alerts"),
}


def _count(label: Any, **options: Any) -> "models.PositiveIntegerField[int | None, int | None]":
    return models.PositiveIntegerField(label, null=True, blank=True, validators=[MinValueValidator(1)], **options)


def _money(label: Any) -> "models.BigIntegerField[int | None, int | None]":
    return models.BigIntegerField(
        label, null=True, blank=True, validators=[MinValueValidator(0)], help_text=_("In nano-dollars.")
    )


def default_alerts() -> list[int]:
    return [80, 100]


class AlertsField(ArrayField[list[int], list[int]]):
    """Percentages at which people are told of a budget; empty for none."""

    def formfield(self, **kwargs: Any) -> forms.Field | None:
        return models.Field.formfield(self, form_class=PercentsField, **kwargs)


class Limited(models.Model):
    """Limits of one scope. None means that this scope sets no limit of that kind."""

    requests_per_minute = _count(_("requests per minute"))
    tokens_per_minute = _count(_("tokens per minute"))
    concurrent_requests = _count(_("requests at the same time"))
    requests_per_day = _count(_("requests per day"))
    tokens_per_day = models.PositiveBigIntegerField(
        _("tokens per day"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    gpu_seconds_per_day = _count(_("GPU-seconds per day"))
    daily_budget_nano = _money(_("budget per day"))
    weekly_budget_nano = _money(_("budget per week"))
    monthly_budget_nano = _money(_("budget per month"))
    # In the database too: a process of the version before may go on for a while and knows no such column.
    alert_percents = AlertsField(
        models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(100)]),
        size=MOST_PERCENTS,
        verbose_name=_("budget alerts"),
        default=default_alerts,
        db_default=[80, 100],
        blank=True,
        help_text=_("Percentages of a budget at which people are told."),
    )

    class Meta:
        abstract = True

    @property
    def limits(self) -> Limits:
        """All of them together."""
        return Limits(**{name: getattr(self, name) for name in LIMITS})

    @property
    def limits_in_words(self) -> list[tuple[str | Promise, str]]:
        """Those that are set, each with what it is called, and when people are told of budgets."""
        limits = [(name, value) for name in LIMITS if (value := getattr(self, name)) is not None]
        return [*((LABELS[name], limit_in_words(name, value)) for name, value in limits), *self.alerts_in_words]

    @property
    def alerts_in_words(self) -> list[tuple[str | Promise, str]]:
        """When people are told of its budgets; nothing where it has none."""
        percents: list[int] | None = getattr(self, ALERTS) if self.limits.has_budget else None
        return [] if percents is None else [(LABELS[ALERTS], limit_in_words(ALERTS, percents))]


def limit_field(name: str, label: Any = None) -> forms.Field:
    """The field of a form for one limit, left empty for none."""
    label = LABELS[name] if label is None else label
    if name == ALERTS:
        about = _("Percentages of a budget at which people are told, such as 50, 80, 100. Empty: nobody is told.")
        return PercentsField(label=label, required=False, help_text=about)
    if name.endswith("_nano"):
        return DollarsField(label=label, required=False, help_text=_("In US dollars."))
    most = LARGEST_TOKENS if name == "tokens_per_day" else LARGEST_COUNT
    field = forms.IntegerField(label=label, required=False, min_value=1, max_value=most)
    if name == "gpu_seconds_per_day":
        field.help_text = _("The time that servers take for its answers, added up.")
    return field


def limit_in_words(name: str, value: Any) -> str:
    """A limit, or when people are told of budgets, as people read it."""
    if name == ALERTS:
        return ", ".join(f"{percent}%" for percent in value) or gettext("none")
    return exact_dollars(value) if name.endswith("_nano") else f"{value:,}"

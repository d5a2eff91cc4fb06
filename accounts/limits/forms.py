from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from common.forms import EditForm
from common.limits import ALERTS, LIMITS, Limited, limit_field, limit_in_words
from common.zones import zone_names


class LimitsForm(EditForm):
    """The limits of whatever has some, and when people are told of its budgets; empty is no limit."""

    others: tuple[str, ...] = ()

    def __init__(self, data: QueryDict | None = None, *, limited: Limited) -> None:
        names = (*LIMITS, ALERTS, *self.others)
        super().__init__(data, initial={name: getattr(limited, name) for name in names})
        for name in (*LIMITS, ALERTS):
            self.fields[name] = limit_field(name)
        self.order_fields(names)
        of = f"{limited._meta.label}.{limited.pk}"
        self.remember({name: getattr(limited, name) for name in names}, of=of)

    def changes(self) -> dict[str, Any]:
        """What was changed in it."""
        return self.edited({name: value for name, value in self.cleaned_data.items() if name != "shown"})

    def in_words(self, name: str, value: Any) -> str:
        if value is None:
            return ""
        return str(value) if name in self.others else limit_in_words(name, value)


class OrganizationLimitsForm(LimitsForm):
    """Those of an organization, with where its days begin."""

    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        choices=lambda: [(name, name) for name in zone_names()],
        help_text=_("Days, weeks (from Monday) and months of limits and budgets begin in it, for all projects."),
    )
    others = ("time_zone",)

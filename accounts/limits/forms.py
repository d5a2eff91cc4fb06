from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
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
            self.fields[name].help_text = self.about(name) or self.fields[name].help_text
        self.order_fields(names)
        of = f"{limited._meta.label}.{limited.pk}"
        self.remember({name: getattr(limited, name) for name in names}, of=of)

    def about(self, name: str) -> str:
        """What else holds beside a limit; empty when nothing does."""
        return ""

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

    def __init__(self, data: QueryDict | None = None, *, limited: Organization) -> None:
        self.plan = limited.plan
        super().__init__(data, limited=limited)

    def about(self, name: str) -> str:
        most = getattr(self.plan, name) if self.plan else None
        if most is None:
            return ""
        return _("The plan “%(plan)s” allows %(limit)s. The smaller of both holds.") % {
            "plan": self.plan,
            "limit": limit_in_words(name, most),
        }

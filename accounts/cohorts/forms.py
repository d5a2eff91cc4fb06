from typing import Any

from django import forms
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from accounts.invitations.links import MOST_PLACES
from accounts.models import Cohort
from accounts.projects.forms import EndingForm, LastDayField
from common.limits import ALERTS, LABELS, LIMITS, default_alerts, limit_field


class CohortForm(EndingForm):
    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("That of the course or the hackathon."))
    ends_at = LastDayField(
        label=_("Last day"), help_text=_("After it every key of the cohort stops working. You can extend it.")
    )
    most_joins = forms.IntegerField(
        label=_("Places"),
        min_value=1,
        max_value=MOST_PLACES,
        initial=30,
        help_text=_("How many people the join link lets in."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in LIMITS:
            self.fields[name] = limit_field(name, format_lazy(_("{limit} and person"), limit=LABELS[name]))
        self.fields[ALERTS] = limit_field(ALERTS)
        self.initial.setdefault(ALERTS, default_alerts())

    @classmethod
    def of(cls, cohort: Cohort, data: Any) -> "CohortForm":
        initial = {
            "name": cohort.project.name,
            "ends_at": cohort.project.ends_at,
            "most_joins": cohort.join_link.most_joins,
            **{limit: getattr(cohort, limit) for limit in (*LIMITS, ALERTS)},
        }
        return cls(data, initial=initial)

    def answers(self) -> dict[str, Any]:
        """What the services take."""
        answers = {name: self.cleaned_data[name] for name in ("name", "ends_at", "most_joins")}
        return {**answers, "limits": {limit: self.cleaned_data[limit] for limit in (*LIMITS, ALERTS)}}

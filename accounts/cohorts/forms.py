from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.cohorts.services import LIMITS
from accounts.invitations.links import MOST_PLACES
from accounts.models import Cohort
from accounts.projects.forms import EndingForm, LastDayField
from common.forms import DollarsField

MOST_PER_MINUTE = 1_000_000_000


def _limit(label: Any, most: int = MOST_PER_MINUTE) -> forms.IntegerField:
    return forms.IntegerField(label=label, required=False, min_value=1, max_value=most)


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
    monthly_budget_nano = DollarsField(
        label=_("Budget per person and month, in US dollars"),
        required=False,
        help_text=_("What one participant may spend. Models without a price cost nothing."),
    )
    requests_per_minute = _limit(_("Requests per minute and person"))
    tokens_per_minute = _limit(_("Tokens per minute and person"))
    concurrent_requests = _limit(_("Requests at the same time and person"), 10_000)

    @classmethod
    def of(cls, cohort: Cohort, data: Any) -> "CohortForm":
        initial = {
            "name": cohort.project.name,
            "ends_at": cohort.project.ends_at,
            "most_joins": cohort.join_link.most_joins,
            **{limit: getattr(cohort, limit) for limit in LIMITS},
        }
        return cls(data, initial=initial)

    def answers(self) -> dict[str, Any]:
        """What the services take."""
        answers = {name: self.cleaned_data[name] for name in ("name", "ends_at", "most_joins")}
        return {**answers, "limits": {limit: self.cleaned_data[limit] for limit in LIMITS}}

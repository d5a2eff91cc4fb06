from datetime import UTC, datetime
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from catalog.models import HostedModel
from inference.endpoints import ENDPOINTS
from usage.log import Asked
from usage.models import Source
from usage.outcomes import Outcome, is_outcome, outcome_named
from usage.reports import Window, period_of

# Between these a time can be moved to any time zone; no call is from beyond.
FIRST_MOMENT = datetime(1970, 1, 2, tzinfo=UTC)
LAST_MOMENT = datetime(9000, 1, 1, tzinfo=UTC)


def _moment(label: Any) -> forms.DateTimeField:
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    return forms.DateTimeField(label=label, required=False, widget=widget)


class FilterForm(forms.Form):
    """Which part of the request log a page shows. What is not understood is as if it were not there.

    Where the address names no time it is the last 30 days, as on the usage page.
    """

    model = forms.ChoiceField(label=_("Model"), required=False)
    outcome = forms.ChoiceField(label=_("Status"), required=False)
    window = forms.ChoiceField(label=_("Period"), choices=[*Window.choices, ("", _("Any time"))], required=False)
    since = _moment(_("From"))
    until = _moment(_("Until"))
    code = forms.CharField(
        label=_("Error code"),
        max_length=60,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "rate_limit_exceeded"}),
    )
    endpoint = forms.ChoiceField(
        label=_("Endpoint"),
        choices=[("", _("Any endpoint")), *((path, f"/v1/{path}") for path in ENDPOINTS)],
        required=False,
    )
    source = forms.ChoiceField(label=_("Made with"), choices=[("", _("Anything")), *Source.choices], required=False)
    member = forms.CharField(
        label=_("Whose"),
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": _("Name or id")}),
    )

    def __init__(self, query: QueryDict, *, key: str = "") -> None:
        data = query.copy()
        if data.get("window") not in {*Window.values, ""}:
            data["window"] = "" if data.get("since") or data.get("until") else Window.MONTH
        super().__init__(data)
        self.key = key
        # One that is offered no more was called all the same, and is still to be chosen where the address names it.
        names = dict.fromkeys([*HostedModel.objects.offered().values_list("public_name", flat=True), data.get("model")])
        offered = sorted(name for name in names if name)
        self.fields["model"] = forms.ChoiceField(
            label=_("Model"), choices=[("", _("Any model")), *((name, name) for name in offered)], required=False
        )
        # A single status is one of many, and still to be chosen where the address names it.
        status = data.get("outcome", "")
        single = [(status, outcome_named(status))] if status not in Outcome.values and is_outcome(status) else []
        self.fields["outcome"] = forms.ChoiceField(
            label=_("Status"), choices=[("", _("Any status")), *Outcome.choices, *single], required=False
        )

    def asked(self) -> Asked:
        self.full_clean()
        given = {name: value for name, value in self.cleaned_data.items() if value}
        window = given.pop("window", None)
        since, until = (_near(given.pop(name, None)) for name in ("since", "until"))
        if window:
            start = period_of(Window(window), zone=timezone.get_current_timezone(), now=timezone.now()).start
            since = max(since, start) if since else start
        return Asked(key=self.key, since=since, until=until, **given)

    @property
    def first(self) -> list[forms.BoundField]:
        """What is asked most often."""
        return [self[name] for name in ("outcome", "model", "window")]

    @property
    def others(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in {"outcome", "model", "window"}]

    @property
    def is_detailed(self) -> bool:
        """Whether any of the others is asked."""
        return any(self.cleaned_data.get(field.name) for field in self.others)

    @property
    def is_narrowed(self) -> bool:
        return self.is_detailed or any(self.cleaned_data.get(name) for name in ("model", "outcome"))


def _near(moment: datetime | None) -> datetime | None:
    return moment and min(max(moment, FIRST_MOMENT), LAST_MOMENT)

from dataclasses import dataclass
from typing import Any

from django import forms
from django.forms import BoundField
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.errors import RefusedError
from accounts.models import Plan
from accounts.organizations.forms import OrganizationField
from accounts.plans.services import IS_DEFAULT, NAME_TAKEN
from catalog.forms import MOST_EXPENSIVE_DOLLARS
from catalog.models import HostedModel
from common.edits import plain
from common.forms import DollarsField, EditForm
from common.limits import LIMITS, limit_field
from usage.plans.history import value_in_words

# The field that each refusal of the services is about.
REFUSED = {
    "plan_archived": "is_default",
    "plan_default_taken": "is_default",
    "plan_is_default": "is_archived",
    "plan_name_taken": "name",
}
ABOUT = ("name", "description", "position", "is_open", "is_default", "is_archived")


@dataclass(frozen=True)
class PriceRow:
    """The two fields of a model's price in the plan."""

    model: str
    input: BoundField
    output: BoundField


class PlanForm(EditForm):
    """What a plan is called, who may be on it, and what it allows at what price."""

    name = forms.CharField(label=_("Name"), max_length=80)
    description = forms.CharField(
        label=_("Description"),
        required=False,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("Whom it is for, in a sentence or two. Everybody who may choose it reads it."),
    )
    position = forms.IntegerField(
        label=_("Position"),
        min_value=0,
        max_value=32767,
        initial=0,
        help_text=_("Plans stand in this order, the smallest number first."),
    )
    is_open = forms.BooleanField(
        label=_("Open to all"),
        required=False,
        help_text=_("Organizations may choose it and leave it again. One that is not open is for staff to give."),
    )
    is_default = forms.BooleanField(
        label=_("For new organizations"),
        required=False,
        help_text=_("They begin on it. It takes the place of the plan that is for them now."),
    )
    is_archived = forms.BooleanField(
        label=_("Archived"),
        required=False,
        help_text=_("Nobody comes onto it any more. Who is on it stays."),
    )
    allowed_models = forms.MultipleChoiceField(
        label=_("Models"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None ticked: all of them, and those that come."),
    )
    # Two fields to each model.
    fields_of = {"prices": None}

    def __init__(self, data: QueryDict | None = None, *, plan: Plan | None = None) -> None:
        self.plan = plan or Plan()
        values = {name: getattr(self.plan, name) for name in (*ABOUT, *LIMITS, "allowed_models")}
        super().__init__(data, initial=values)
        for name in LIMITS:
            self.fields[name] = limit_field(name)
        # What no longer runs anywhere stays as it is in the plan until somebody takes it out.
        hosted = {model.public_name: model for model in HostedModel.objects.order_by("public_name")}
        self.models = list(dict.fromkeys([*hosted, *self.plan.allowed_models, *self.plan.prices]))
        self.fields["allowed_models"].choices = [(name, name) for name in self.models]  # type: ignore[attr-defined]
        for number, model in enumerate(self.models):
            prices = self.plan.prices.get(model, (None, None))
            for side, label, price in zip(("input", "output"), (_("Input"), _("Output")), prices, strict=True):
                own = getattr(hosted.get(model), f"{side}_price_nano", None)
                field = DollarsField(label=label, required=False, most=int(MOST_EXPENSIVE_DOLLARS))
                # A model's name may hold what an id may not.
                field.widget.attrs |= {"id": f"{side}-price-{number}", "aria-label": f"{model}: {label}"}
                if own is not None:
                    field.widget.attrs["placeholder"] = field.prepare_value(own)
                self.fields[f"{side}:{model}"] = field
                self.initial[f"{side}:{model}"] = price
        self.remember({**values, "prices": self.plan.prices}, of=self.plan.public_id if plan else "")

    @property
    def about(self) -> list[BoundField]:
        return [self[name] for name in ABOUT]

    @property
    def limits(self) -> list[BoundField]:
        return [self[name] for name in LIMITS]

    @property
    def prices(self) -> list[PriceRow]:
        return [PriceRow(model, self[f"input:{model}"], self[f"output:{model}"]) for model in self.models]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if Plan.objects.filter(name__iexact=name).exclude(pk=self.plan.pk).exists():
            raise forms.ValidationError(NAME_TAKEN)
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("is_archived") and cleaned.get("is_default"):
            self.add_error("is_archived", IS_DEFAULT)
        cleaned["prices"] = {}
        for model in self.models:
            pair = [cleaned.pop(f"{side}:{model}", None) for side in ("input", "output")]
            if None not in pair:
                cleaned["prices"][model] = pair
            elif pair != [None, None]:
                empty = "input" if pair[0] is None else "output"
                self.add_error(f"{empty}:{model}", _("Enter both prices, or none for the model’s own. 0 is free."))
        return cleaned

    def changes(self) -> dict[str, Any]:
        """What was changed in it, or all that is said of a new plan."""
        values = {name: value for name, value in self.cleaned_data.items() if name != "shown"}
        return self.edited(values) if self.plan.pk else {name: plain(value) for name, value in values.items()}

    def refuse(self, error: RefusedError) -> None:
        """Say beside its field what somebody else did at the same time."""
        self.add_error(REFUSED[error.code], str(error))

    def in_words(self, name: str, value: Any) -> str:
        return value_in_words(name, value)


class AssignForm(forms.Form):
    """Which organization is to be on the plan."""

    organization = OrganizationField()

"""The forms with which staff grant credits and take them back."""

from datetime import date, datetime
from typing import Any, cast

from django import forms
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from accounts.organizations.forms import OrganizationField
from common.forms import DollarsField
from common.moments import end_of
from common.money import display_dollars, exact_dollars
from usage.models import CreditGrant, CreditRevocation


class GrantForm(forms.ModelForm[CreditGrant]):
    organization_id = OrganizationField()
    amount_nano = DollarsField(label=_("Amount"), help_text=_("In US dollars."))
    expires_at = forms.DateField(
        label=_("Last day"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text=_(
            "It ends with this day in the time zone of the organization, in which its budgets begin, and what is left "
            "then is lost. Empty: it does not expire."
        ),
    )

    class Meta:
        model = CreditGrant
        fields = ["organization_id", "amount_nano", "reason", "expires_at"]
        help_texts = {"reason": _("The owners read it as well.")}

    def clean_organization_id(self) -> str:
        found: Organization = self.cleaned_data["organization_id"]
        self.organization = found
        return found.public_id

    def clean_expires_at(self) -> datetime | None:
        day: date | None = self.cleaned_data["expires_at"]
        # Without an organization the form comes back, and a day that is long over is said at once.
        zone = self.organization.zone if "organization_id" in self.cleaned_data else timezone.get_current_timezone()
        return None if day is None else end_of(day, zone)


class GrantField(forms.ModelChoiceField[CreditGrant]):
    """Says whose each grant is, for taking one back cannot be undone."""

    def label_from_instance(self, obj: CreditGrant) -> str:
        return gettext("%(organization)s: %(left)s left of %(amount)s, “%(reason)s” (%(id)s)") % {
            "organization": obj.organization_name or obj.organization_id,
            "left": display_dollars(obj.left_nano),
            "amount": exact_dollars(obj.amount_nano),
            "reason": obj.reason,
            "id": obj.public_id,
        }


class RevocationForm(forms.ModelForm[CreditRevocation]):
    grant = GrantField(
        CreditGrant.objects.none(),
        label=_("Grant"),
        help_text=_("Those with something left, the newest first. It cannot be undone."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast(GrantField, self.fields["grant"]).queryset = CreditGrant.objects.to_take_back()

    class Meta:
        model = CreditRevocation
        fields = ["grant", "reason"]
        help_texts = {"reason": _("The owners read it as well.")}

"""The forms with which staff grant credits and take them back."""

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from common.forms import DollarsField
from usage.models import CreditGrant, CreditRevocation


class GrantForm(forms.ModelForm[CreditGrant]):
    organization_id = forms.CharField(
        label=_("Organization"), max_length=40, help_text=_("Its id, org_…, which its page has.")
    )
    amount_nano = DollarsField(label=_("Amount"), help_text=_("In US dollars."))

    class Meta:
        model = CreditGrant
        fields = ["organization_id", "amount_nano", "reason", "expires_at"]
        help_texts = {
            "reason": _("The owners read it as well."),
            "expires_at": _("What is left then is lost. Empty: it does not expire."),
        }

    def clean_organization_id(self) -> str:
        named: str = self.cleaned_data["organization_id"]
        found = Organization.objects.filter(public_id=named).first()
        if found is None:
            raise forms.ValidationError(_("There is no organization with this id."))
        self.organization = found
        return named


class RevocationForm(forms.ModelForm[CreditRevocation]):
    class Meta:
        model = CreditRevocation
        fields = ["grant", "reason"]
        help_texts = {"reason": _("The owners read it as well.")}

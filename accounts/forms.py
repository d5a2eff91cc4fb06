from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.utils.translation import get_language_info
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, TermsVersion, User
from accounts.names import objections
from common.moments import check_nearness

# Each in its own words, as in the menu: whoever looks for theirs may read no other.
OWN_NAMES = [(code, get_language_info(code)["name_local"]) for code, _name in settings.LANGUAGES]


class ProfileForm(forms.ModelForm[User]):
    """What others read of a person, and the language of their mail."""

    class Meta:
        model = User
        fields = ["name", "language"]
        labels = {"name": _("Name")}
        widgets = {"language": forms.Select(choices=OWN_NAMES)}
        help_texts = {
            "name": _(
                "Shown beside what you write. Your e-mail address is seen only by those who manage an organization you "
                "joined."
            )
        }

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if reasons := objections(self.instance, name):
            raise forms.ValidationError(reasons)
        return name


class OperatorForm(forms.Form):
    """The first staff account."""

    email = forms.EmailField(label=_("E-mail address"))
    password = forms.CharField(
        label=_("Password"),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 10 characters."),
    )
    sample_data = forms.BooleanField(
        label=_("Fill the portal with sample data"),
        required=False,
        help_text=_(
            "People, a month of usage and a forum to look around in, all labelled as samples. The usage is that of two "
            "sample organizations: switch to them at the top left. One command removes it all."
        ),
    )

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"].lower()
        if User.objects.filter(email=email).exists():
            raise forms.ValidationError(_("This address has an account already. Choose another for the operator."))
        return email

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        validate_password(password)
        return password


class SecondFactorPolicyForm(forms.ModelForm[Organization]):
    """What an organization asks of its members."""

    class Meta:
        model = Organization
        fields = ["requires_second_factor"]
        labels = {"requires_second_factor": _("Require a second factor of every member")}
        help_texts = {
            "requires_second_factor": _(
                "Members without one reach only the pages on which they set it up. API keys go on working."
            )
        }


class TermsForm(forms.ModelForm[TermsVersion]):
    """A version of the terms of use."""

    class Meta:
        model = TermsVersion
        fields = ["english", "chinese", "in_force_at"]
        widgets = {
            "english": forms.Textarea(attrs={"rows": 14}),
            "chinese": forms.Textarea(attrs={"rows": 14}),
            "in_force_at": forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        }
        help_texts = {
            "english": _("Markdown."),
            "chinese": _("Markdown. Without it, readers of Chinese get the English text."),
            "in_force_at": _(
                "In your time zone. From then on pages ask for acceptance, and keys of people who have not accepted "
                "are refused: leave them some days to do so."
            ),
        }

    def clean_in_force_at(self) -> datetime:
        moment: datetime = self.cleaned_data["in_force_at"]
        check_nearness(moment)
        return moment


class EraseForm(forms.Form):
    """The last question before an account is erased."""

    address = forms.EmailField(
        label=_("Type your e-mail address to confirm"), widget=forms.EmailInput(attrs={"autocomplete": "off"})
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def clean_address(self) -> str:
        address: str = self.cleaned_data["address"]
        if address.lower() != self._user.email:
            raise forms.ValidationError(_("This is not the address of this account."))
        return address

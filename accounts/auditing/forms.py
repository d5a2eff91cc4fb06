from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.auditing.actions import as_choice, registered
from accounts.auditing.reading import Asked


def _choices() -> list[tuple[str, str]]:
    return [("", str(_("Every act"))), *sorted(((name, as_choice(name)) for name in registered()), key=lambda c: c[1])]


class FilterForm(forms.Form):
    """Which part of the log a page shows. What is not understood is as if it were not there."""

    action = forms.ChoiceField(label=_("What"), choices=_choices, required=False)
    by = forms.CharField(label=_("Who"), max_length=80, required=False)
    target = forms.CharField(label=_("On what or whom"), max_length=200, required=False)
    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("Until"), required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def asked(self) -> Asked:
        self.full_clean()
        return Asked(**self.cleaned_data)

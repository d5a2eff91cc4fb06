from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.auditing.actions import as_choice, registered
from accounts.auditing.reading import Asked


def _choices() -> list[tuple[str, str]]:
    return [("", str(_("Every act"))), *sorted(((name, as_choice(name)) for name in registered()), key=lambda c: c[1])]


def _text(label: Any, placeholder: Any) -> forms.CharField:
    # As long as an e-mail address can be.
    widget = forms.TextInput(attrs={"placeholder": placeholder})
    return forms.CharField(label=label, max_length=254, required=False, widget=widget)


class FilterForm(forms.Form):
    """Which part of the log a page shows. What is not understood is as if it were not there."""

    action = forms.ChoiceField(label=_("What"), choices=_choices, required=False)
    by = _text(_("Who"), _("Name, e-mail address or id"))
    target = _text(_("On what or whom"), _("Name, hint of a key or id"))
    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("Until"), required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def asked(self) -> Asked:
        self.full_clean()
        return Asked(**self.cleaned_data)

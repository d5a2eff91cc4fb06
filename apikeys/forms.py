from django import forms
from django.utils.translation import gettext_lazy as _

from common.forms import new_submission


class KeyForm(forms.Form):
    name = forms.CharField(
        label=_("Name"), max_length=80, help_text=_("What will use it, such as “laptop” or “nightly evaluation”.")
    )
    submission = forms.CharField(widget=forms.HiddenInput, max_length=40, required=False, initial=new_submission)

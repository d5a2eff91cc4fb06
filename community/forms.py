"""Flagging, and what a moderator decides."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from community.models import FlagReason


class FlagForm(forms.Form):
    reason = forms.ChoiceField(
        label=_("What is wrong with it?"), choices=FlagReason.choices, widget=forms.RadioSelect, initial=FlagReason.SPAM
    )
    note = forms.CharField(
        label=_("Note for the moderators"),
        max_length=500,
        required=False,
        widget=forms.Textarea({"rows": 3}),
        help_text=_("Only moderators read it. Up to 500 characters."),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("reason") == FlagReason.OTHER and not cleaned.get("note", "").strip():
            self.add_error("note", _("Say in a few words what is wrong."))
        return cleaned


class DecisionForm(forms.Form):
    """Why, and which of the buttons was pressed. The reason is read by the person concerned."""

    ACTS = ["hide", "restore", "lock", "unlock", "dismiss", "suspend", "readmit"]

    act = forms.ChoiceField(choices=[(act, act) for act in ACTS])
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        required=False,
        widget=forms.TextInput(),
        help_text=_("Read by the author. Needed to hide or suspend."),
    )
    suspend_too = forms.BooleanField(label=_("Suspend the author as well"), required=False)

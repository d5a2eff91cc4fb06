from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from common.outbound import validate_public_url
from webhooks.registry import event_types


class EndpointForm(forms.Form):
    """Where an organization is told what, and which events."""

    url = forms.CharField(
        label=_("Address"),
        max_length=500,
        validators=[validate_public_url],
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/hooks/lyceum"}),
        help_text=_("A server of yours on the public internet that answers 2xx within ten seconds."),
    )
    description = forms.CharField(label=_("Description"), max_length=200, required=False)
    event_types = forms.MultipleChoiceField(
        label=_("Events"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None chosen means all, those that come later too."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(one.name, f"{one.name}: {one.description}") for one in event_types()]
        field = self.fields["event_types"]
        if isinstance(field, forms.MultipleChoiceField):
            field.choices = choices

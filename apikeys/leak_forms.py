from django import forms
from django.utils.translation import gettext_lazy as _

from apikeys.leaks import MOST_PLACE_CHARACTERS
from apikeys.verification import find_keys

MOST_TEXT_CHARACTERS = 20_000


class FoundKeyForm(forms.Form):
    text = forms.CharField(
        label=_("The key"),
        max_length=MOST_TEXT_CHARACTERS,
        widget=forms.Textarea({"rows": 4, "autocomplete": "off", "spellcheck": "false", "class": "font-mono"}),
        help_text=_("The whole key, or the lines it stands in. It is checked and not kept."),
    )
    found_at = forms.CharField(
        label=_("Where you found it"),
        max_length=MOST_PLACE_CHARACTERS,
        required=False,
        help_text=_("An address, or a few words. Its owner reads this."),
    )

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        if not find_keys(text):
            raise forms.ValidationError(
                _(
                    "There is no key of this portal in it. Look whether its end is missing: the last characters are a "
                    "checksum."
                )
            )
        return text

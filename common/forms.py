"""Form fields and values that several apps use."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast
from uuid import uuid4

from django import forms
from django.core import signing
from django.http import QueryDict
from django.utils.translation import gettext as _

from common.edits import ChangedMeanwhileError, plain
from common.money import dollars, nano_from_dollars

MOST_DOLLARS = 1_000_000_000
MOST_PERCENTS = 5


def new_submission() -> str:
    """Names one opened form, so that sending it twice makes one thing."""
    return uuid4().hex


class DollarsField(forms.DecimalField):
    """Dollars to who fills it in, nano-dollars to the code."""

    def __init__(self, *, most: int = MOST_DOLLARS, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=most, decimal_places=9, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return f"{dollars(value).normalize():f}" if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        amount: Decimal | None = super().clean(value)
        return None if amount is None else nano_from_dollars(amount)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(None if initial is None else dollars(initial), data)


class PercentsField(forms.CharField):
    """A few whole percentages, divided by commas or spaces; a sorted list of them to the code."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(str(one) for one in value) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> Any:
        words = [word for word in re.split(r"[\s,;，、；]+", super().clean(value)) if word]
        percents = set()
        for word in words:
            text = word.rstrip("%％")
            if not (re.fullmatch(r"\d{1,3}", text) and 1 <= int(text) <= 100):
                raise forms.ValidationError(
                    _("“%(text)s” is no whole number from 1 to 100. Write percentages such as 50, 80, 100."),
                    params={"text": word[:20]},
                )
            percents.add(int(text))
        if len(percents) > MOST_PERCENTS:
            raise forms.ValidationError(_("At most %(most)s percentages."), params={"most": MOST_PERCENTS})
        return sorted(percents)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class EditForm(forms.Form):
    """Edits what others may edit while it is open: it carries what it showed, and says only what was changed in it.

    `fields_of` has the names of fields that are called otherwise than the values behind them; None where a value has
    several.
    """

    shown = forms.CharField(widget=forms.HiddenInput, required=False)
    fields_of: Mapping[str, str | None] = {}

    def remember(self, now: Mapping[str, Any], *, of: str) -> None:
        """Begin with what is there now; a form that comes back knows what was there when it was shown.

        `of` tells what is edited from all else of its kind.
        """
        # What one form showed of one thing is nothing to another.
        self._salt = f"common.forms.{type(self).__name__}.{of}"
        values = {name: plain(value) for name, value in now.items()}
        self.initial["shown"] = signing.dumps(values, salt=self._salt)
        try:
            self.was_shown: dict[str, Any] = signing.loads(self.data.get("shown", ""), salt=self._salt)
        except signing.BadSignature:
            self.was_shown = values

    def edited(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the valid form's values that are not what it showed."""
        return {name: value for name, value in values.items() if plain(value) != self.was_shown.get(name)}

    def in_words(self, name: str, value: Any) -> str:
        """A value as people read it; empty for none."""
        raise NotImplementedError

    def refuse_to_overwrite(self, error: ChangedMeanwhileError) -> None:
        """Show beside what was typed what somebody else made of it; sent once more, the form overwrites that."""
        for name, value in error.now.items():
            now = self.in_words(name, value)
            fault = _("While this form was open, somebody emptied this. Save again to set what you entered.")
            if now:
                fault = _(
                    "While this form was open, somebody changed this to: %(now)s. Save again to replace that with "
                    "what you entered."
                ) % {"now": now}
            self.add_error(self.fields_of.get(name, name), fault)
        seen = self.was_shown | {name: plain(value) for name, value in error.now.items()}
        data = cast(QueryDict, self.data).copy()
        data["shown"] = signing.dumps(seen, salt=self._salt)
        self.data = data

"""Form fields and values that several apps use."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms

from common.money import dollars, nano_from_dollars

MOST_DOLLARS = 1_000_000_000


def new_submission() -> str:
    """Names one opened form, so that sending it twice makes one thing."""
    return uuid4().hex


class DollarsField(forms.DecimalField):
    """Dollars to who fills it in, nano-dollars to the code."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=MOST_DOLLARS, decimal_places=9, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return f"{dollars(value).normalize():f}" if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        amount: Decimal | None = super().clean(value)
        return None if amount is None else nano_from_dollars(amount)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(None if initial is None else dollars(initial), data)

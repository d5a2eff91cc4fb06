"""Amounts are entered in dollars and kept in nano-dollars."""

import pytest
from django.core.exceptions import ValidationError

from common.forms import DollarsField


def test_it_works() -> None:
    field = DollarsField(required=False)
    assert field.prepare_value(12_500_000_000) == "12.5"
    assert field.prepare_value(20_000_000_000) == "20"
    assert field.clean("12.5") == 12_500_000_000
    assert field.clean("") is None
    assert not field.has_changed(12_500_000_000, "12.50")
    assert field.has_changed(None, "1")


def test_a_refused_amount_stands_as_it_was_typed() -> None:
    assert DollarsField().prepare_value("1,5") == "1,5"


@pytest.mark.parametrize("typed", ["-1", "x", "0.0000000001", "1000000001"])
def test_what_is_no_amount_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError):
        DollarsField().clean(typed)

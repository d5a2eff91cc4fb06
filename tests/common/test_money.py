from decimal import Decimal

import pytest

from common.money import display_dollars, exact_dollars, nano_from_dollars, token_cost


def test_it_works() -> None:
    # $0.05 per million tokens is 50 nano-dollars a token.
    assert token_cost(3, nano_from_dollars(Decimal("0.05"))) == 150


def test_a_part_of_a_nano_dollar_is_charged_whole() -> None:
    assert token_cost(1, 1) == 1


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0"),
        (1, "<$0.0001"),
        (150_000, "$0.0002"),
        (1_500_000_000, "$1.50"),
        (1_234_567_000_000_000, "$1,234,567.00"),
    ],
)
def test_an_amount_reads_well(nano: int, shown: str) -> None:
    assert display_dollars(nano) == shown


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0"),
        (1, "$0.000000001"),
        (50_000_000, "$0.05"),
        (12_345_678_901, "$12.345678901"),
        (9_000_000_000_000_000, "$9,000,000.00"),
    ],
)
def test_what_somebody_chose_is_shown_to_its_last_digit(nano: int, shown: str) -> None:
    assert exact_dollars(nano) == shown

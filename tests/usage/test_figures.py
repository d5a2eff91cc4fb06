"""How figures read."""

import pytest

from usage.templatetags.usage_figures import NO_BREAK, change, change_of_share, duration, share


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "–"),
        (0, "0 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (9_990, "9.99 s"),
        (9_996, "10.0 s"),
        (59_960, "1 min 0 s"),
        (125_000, "2 min 5 s"),
    ],
)
def test_a_duration_reads_in_units_a_person_feels(milliseconds: float | None, text: str) -> None:
    assert duration(milliseconds).replace(NO_BREAK, " ") == text


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (None, "–"),
        (0.0, "0%"),
        (0.0004, "<0.1%"),
        (0.014, "1.4%"),
        (0.5, "50%"),
        (0.996, "99.6%"),
        (0.99951, ">99.9%"),
        (1.0, "100%"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(part: float | None, text: str) -> None:
    assert share(part) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (5, 0, ""),
        (None, 5, ""),
        (5, None, ""),
        (1000, 1001, "unchanged"),
        (150, 100, "+50%"),
        (60, 100, "−40%"),
        (2500, 100, "×25"),
    ],
)
def test_a_change_is_against_the_period_before(now: float | None, before: float | None, text: str) -> None:
    assert change(now, before) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (0.02, None, ""),
        (None, 0.02, ""),
        (0.02, 0.0201, "unchanged"),
        (0.02, 0.0, "+2.0 points"),
        (0.026, 0.031, "−0.5 points"),
    ],
)
def test_a_share_moves_by_points(now: float | None, before: float | None, text: str) -> None:
    assert change_of_share(now, before) == text

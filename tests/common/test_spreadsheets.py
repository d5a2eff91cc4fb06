import pytest

from common.spreadsheets import safe_cells


def test_it_works() -> None:
    assert safe_cells(["Ada", "", "3 - 2", "a@b"]) == ["Ada", "", "3 - 2", "a@b"]


@pytest.mark.parametrize("beginning", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_what_a_spreadsheet_would_run(beginning: str) -> None:
    assert safe_cells([f"{beginning}1+1"]) == [f"'{beginning}1+1"]

"""Files that people open in a spreadsheet."""

from collections.abc import Iterable

# The last four are =, +, - and @ as East Asian keyboards write them.
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_cells(cells: Iterable[str]) -> list[str]:
    """The cells of a row, none of which a spreadsheet takes for a formula: users choose what stands in them."""
    return [f"'{cell}" if cell.startswith(FORMULA_BEGINNINGS) else cell for cell in cells]

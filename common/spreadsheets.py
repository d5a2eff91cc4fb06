"""Files that people open in a spreadsheet."""

from collections.abc import Iterable


def safe_cells(cells: Iterable[str]) -> list[str]:
    """The cells of a row, none of which a spreadsheet takes for a formula: users choose what stands in them."""
    return [f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell for cell in cells]

"""Files that people open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Sequence

# The last four are =, +, - and @ as East Asian keyboards write them.
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_cells(cells: Iterable[str]) -> list[str]:
    """The cells of a row, none of which a spreadsheet takes for a formula: users choose what stands in them."""
    return [f"'{cell}" if cell.startswith(FORMULA_BEGINNINGS) else cell for cell in cells]


def csv_head(columns: Sequence[str]) -> bytes:
    """How a CSV file begins. The mark before the names of the columns makes spreadsheets read UTF-8."""
    return "\ufeff".encode() + csv_lines([columns])


def csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()

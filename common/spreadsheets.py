"""Files that people open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Sequence

from django.http import HttpResponse

# The last four are =, +, - and @ as East Asian keyboards write them.
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

# Makes spreadsheets read UTF-8.
MARK = "\ufeff"


def safe_cells(cells: Iterable[str]) -> list[str]:
    """The cells of a row, none of which a spreadsheet takes for a formula: users choose what stands in them."""
    return [f"'{cell}" if cell.startswith(FORMULA_BEGINNINGS) else cell for cell in cells]


def csv_head(columns: Sequence[str]) -> bytes:
    """How a CSV file begins: the names of the columns, and before them the mark."""
    return MARK.encode() + csv_lines([columns])


def csv_answer(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> HttpResponse:
    """A file `name` to download, made as a whole: what is long is streamed from the same parts."""
    answer = HttpResponse(csv_head(columns), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.write(csv_lines(rows))
    return answer


def csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()

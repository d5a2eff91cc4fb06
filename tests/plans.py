"""What PostgreSQL reads to answer."""

import json
from typing import Any

from django.db import connection
from django.db.models import QuerySet


def most_rows_read(queryset: "QuerySet[Any]") -> int:
    """The most rows that any step of the query gave to the next, over tables whose statistics are up to date."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    [found] = json.loads(queryset.explain(analyze=True, format="json"))
    return max(_rows(found["Plan"]))


def _rows(step: dict[str, Any]) -> list[int]:
    below = [rows for part in step.get("Plans", []) for rows in _rows(part)]
    return [round(step["Actual Rows"] * step["Actual Loops"]), *below]

"""The audit log as a file, written while it is read."""

import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse
from django.utils import timezone

from accounts.auditing.reading import records
from accounts.models import AuditEvent
from common.files import streamed_file
from common.spreadsheets import csv_head, csv_lines, safe_cells

COLUMNS = (
    "at", "action", "by", "by_user", "organization", "target_kind", "target", "target_name", "before", "after",
    "address", "user_agent", "request_id", "id",
)  # fmt: skip
KINDS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}


def file_response(found: "QuerySet[AuditEvent]", *, kind: str, name: str) -> StreamingHttpResponse:
    """The events as `csv` or `jsonl`, newest first. Raises Http404 for another kind."""
    if kind not in KINDS:
        raise Http404
    parts = csv_parts(found) if kind == "csv" else json_parts(found)
    return streamed_file(parts, content_type=KINDS[kind], name=f"{name}-{timezone.localdate()}.{kind}")


def csv_parts(found: "QuerySet[AuditEvent]") -> Iterator[bytes]:
    yield csv_head(COLUMNS)
    for rows in records(found):
        yield csv_lines([safe_cells(_cell(row[column]) for column in COLUMNS) for row in rows])


def json_parts(found: "QuerySet[AuditEvent]") -> Iterator[bytes]:
    for rows in records(found):
        yield "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value or "")

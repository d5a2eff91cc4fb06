"""The audit log as a file, written while it is read."""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse
from django.utils import timezone

from accounts.auditing.reading import records
from accounts.models import AuditEvent
from common.connections import give_back_connection
from common.spreadsheets import safe_cells

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
    response = StreamingHttpResponse(_asynchronous(parts), content_type=KINDS[kind])
    response["Content-Disposition"] = f'attachment; filename="{name}-{timezone.localdate()}.{kind}"'
    return response


def csv_parts(found: "QuerySet[AuditEvent]") -> Iterator[bytes]:
    # The mark at the beginning makes spreadsheets read UTF-8.
    yield "\ufeff".encode() + _lines([list(COLUMNS)])
    for rows in records(found):
        yield _lines([safe_cells(_cell(row[column]) for column in COLUMNS) for row in rows])


def json_parts(found: "QuerySet[AuditEvent]") -> Iterator[bytes]:
    for rows in records(found):
        yield "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _lines(rows: list[list[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value or "")


async def _asynchronous(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The parts one by one: from an ordinary iterator Django's ASGI handler would gather them all first."""
    while part := await sync_to_async(_following)(parts):
        yield part


def _following(parts: Iterator[bytes]) -> bytes:
    try:
        return next(parts, b"")
    finally:
        # Who reads slowly keeps no connection of the pool meanwhile.
        give_back_connection()

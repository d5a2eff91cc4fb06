"""The sums that an upgrade makes of the ledger are those that the ingest would have made."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.db import connection

from common.ids import uuid7
from tests.usage.test_ingest import event
from usage.ingest import insert_all
from usage.models import MEASURES, ROLLUPS, UsageRollup5Min, UsageRollup15Min

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 18, 23, 2, tzinfo=UTC)
migration = import_module("usage.migrations.0007_sums_by_outcome")


def rows() -> dict[str, list[dict[str, Any]]]:
    return {
        table.__name__: list(table.objects.order_by(*table.CELL).values(*table.CELL, *MEASURES)) for table in ROLLUPS
    }


def test_it_works() -> None:
    statuses = [(200, "", "b"), (429, "rate_limit_exceeded", ""), (499, "client_closed", "b"), (502, "x", "c")]
    calls = []
    for number in range(40):
        status, code, backend = statuses[number % 4]
        at = uuid7(milliseconds=int((AT + number * timedelta(minutes=3)).timestamp() * 1000)).hex
        first = 7 * number if number % 3 else None
        calls.append(
            event(id=at, status=status, error_code=code, backend=backend, latency_ms=31 * number, first_token_ms=first,
                  project_id=f"proj_{number % 2}", key_id=f"key_{number % 5}", model=f"m-{number % 3}")
        )  # fmt: skip
    insert_all(calls)
    made = rows()
    for table in ROLLUPS:
        if table in (UsageRollup5Min, UsageRollup15Min):
            table.objects.update(latency_histogram=0, first_token_histogram=0)
        else:
            table.objects.all().delete()
    with connection.cursor() as cursor:
        for names in migration.WIDENED:
            cursor.execute(migration.widen(*names))
        for names in migration.NEW:
            cursor.execute(migration.fill(*names))
    assert rows() == made

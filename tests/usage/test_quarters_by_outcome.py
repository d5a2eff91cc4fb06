"""The finest sums that an upgrade splits by how calls ended are those that the ingest would have made."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum

from accounts.models import Project
from common.ids import uuid7
from tests.usage.ledger import add_usage
from tests.usage.test_ingest import event
from usage.ingest import insert_all
from usage.models import MEASURES, UsageRollup, UsageRollup5Min, UsageRollup15Min

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 18, 23, 2, tzinfo=UTC)
CHANGED_AT = datetime(2026, 3, 19, tzinfo=UTC)
migration = import_module("usage.migrations.0011_quarters_by_outcome")


def as_it_was(rollup: type[UsageRollup]) -> None:
    """Make of all rows those that the version before had."""
    rows = rollup._default_manager.values(*migration.OF_A_KEY)
    whole = list(rows.annotate(**{f"sum_{name}": Sum(name) for name in MEASURES}))
    rollup._default_manager.all().delete()
    for row in whole:
        sums = {name: row.pop(f"sum_{name}") for name in MEASURES}
        rollup._default_manager.create(**row, **sums, status=200, error_code="", updated_at=CHANGED_AT)


@pytest.mark.parametrize(("rollup", "width"), [(UsageRollup5Min, "5 minutes"), (UsageRollup15Min, "15 minutes")])
def test_it_works(project: Project, rollup: type[UsageRollup], width: str) -> None:
    def rows() -> list[dict[str, Any]]:
        return list(rollup._default_manager.order_by(*rollup.CELL).values(*rollup.CELL, *MEASURES))

    statuses = [(200, "", "b"), (429, "rate_limit_exceeded", ""), (499, "client_closed", "b"), (502, "x", "c")]
    calls = []
    for number in range(60):
        status, code, backend = statuses[number % 4]
        at = uuid7(milliseconds=int((AT + number * timedelta(minutes=1)).timestamp() * 1000)).hex
        first = 7 * number if number % 3 else None
        calls.append(
            event(id=at, status=status, error_code=code, backend=backend, latency_ms=31 * number, first_token_ms=first,
                  reasoning_tokens=number, model=f"m-{number % 2}")
        )  # fmt: skip
    insert_all(calls)
    # The ledger knows nothing of these any more.
    add_usage(project, AT - timedelta(days=500), requests=3, errors=1)
    made = rows()
    as_it_was(rollup)
    assert len(rows()) < len(made)
    with connection.cursor() as cursor:
        cursor.execute(migration.split(rollup._meta.model_name, width))
    assert rows() == made
    assert set(rollup._default_manager.values_list("updated_at", flat=True)) == {CHANGED_AT}

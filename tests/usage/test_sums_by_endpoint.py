"""Sums made before they were told apart by endpoint are split as the ledger says, and add up to the same."""

from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import Sum

from accounts.models import Project
from tests.usage.ledger import a_key, add_call, add_usage
from usage.models import UsageRollup, UsageRollup5Min, UsageRollup15Min

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 18, 12, 2, tzinfo=UTC)


# The tables were as they are but for how calls ended.
AS_IT_WAS = (
    "ALTER TABLE usage_usagerollup5min ALTER status SET DEFAULT 200, ALTER error_code SET DEFAULT ''",
    "ALTER TABLE usage_usagerollup15min ALTER status SET DEFAULT 200, ALTER error_code SET DEFAULT ''",
)


def fill() -> None:
    migration = import_module("usage.migrations.0002_sums_by_endpoint")
    with connection.schema_editor() as editor:
        for statement in AS_IT_WAS:
            editor.execute(statement)
        migration.fill(apps, editor)


def cells(rollup: type[UsageRollup]) -> list[tuple[object, ...]]:
    names = ("model", "endpoint", "requests", "errors", "prompt_tokens", "cached_tokens", "cost_nano")
    return sorted(rollup._default_manager.values_list(*names))


@pytest.mark.parametrize("rollup", [UsageRollup5Min, UsageRollup15Min])
def test_it_works(project: Project, rollup: type[UsageRollup]) -> None:
    key = a_key(project)
    for endpoint, prompt, cached, status in (
        ("chat/completions", 30, 20, 200),
        ("embeddings", 7, 0, 200),
        ("embeddings", 5, 0, 502),
    ):
        add_call(
            project, AT, key=key, endpoint=endpoint, prompt_tokens=prompt, cached_tokens=cached, status=status,
            cost_nano=prompt,
        )  # fmt: skip
    add_call(project, AT, key=key, model="vectors", endpoint="embeddings", prompt_tokens=11)
    # As the version before left them, one row for both endpoints; of the last the ledger knows nothing.
    add_usage(project, AT, key=key, user_id="-", requests=3, errors=1, prompt_tokens=42, cost_nano=42)
    add_usage(project, AT, key=key, user_id="-", model="vectors", requests=1, prompt_tokens=11)
    add_usage(project, AT - timedelta(days=1), key=key, user_id="-", model="forgotten", requests=2, prompt_tokens=6)
    rollup._default_manager.update(user_id="")
    before = rollup._default_manager.aggregate(Sum("requests"), Sum("errors"), Sum("prompt_tokens"), Sum("cost_nano"))
    fill()
    assert cells(rollup) == [
        ("forgotten", "chat/completions", 2, 0, 6, 0, 0),
        ("small", "chat/completions", 1, 0, 30, 20, 30),
        ("small", "embeddings", 2, 1, 12, 0, 12),
        ("vectors", "embeddings", 1, 0, 11, 0, 0),
    ]
    assert (
        rollup._default_manager.aggregate(Sum("requests"), Sum("errors"), Sum("prompt_tokens"), Sum("cost_nano"))
        == before
    )

"""Writes the ledger as the ingest leaves it, so that tests of pages need no stream."""

import math
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from accounts.models import Project
from apikeys.models import ApiKey
from common.ids import new_id, request_id, uuid7
from usage.events import CLIENT_CLOSED
from usage.histograms import BUCKETS, DIGITS, GROWTH
from usage.models import Source, UsageEvent, UsageProjectHour, UsageRollup5Min, UsageRollup15Min


def a_key(project: Project, *, name: str = "Laptop", **fields: Any) -> ApiKey:
    """A key of `project`, as good as a minted one to everything but the gateway."""
    return ApiKey.objects.create(project=project, name=name, prefix="lyc_test", last4="wxyz", **fields)


def histogram(milliseconds: float, calls: int = 1) -> int:
    """That of calls which all took as long."""
    bucket = min(BUCKETS - 1, math.floor(math.log(max(milliseconds, 1)) / math.log(GROWTH)))
    return int(calls * 10 ** (DIGITS * bucket))


def add_usage(
    project: Project,
    at: datetime,
    *,
    key: ApiKey | None = None,
    user_id: str = "",
    model: str = "small",
    endpoint: str = "chat/completions",
    requests: int = 1,
    source: str = "",
    status: int = 200,
    error_code: str = "",
    **sums: int,
) -> None:
    """Add to the sums that pages of up to 35 days read; without a key it is the playground's, of `user_id` or
    somebody."""
    if "latency_ms_sum" in sums:
        sums.setdefault("latency_count", requests)
    for name in ("latency", "first_token"):
        if count := sums.get(f"{name}_count"):
            sums[f"{name}_histogram"] = histogram(sums[f"{name}_ms_sum"] / count, count)
    of_a_project: dict[str, Any] = {
        "source": source or (Source.KEY if key else Source.PLAYGROUND),
        "organization_id": project.organization.public_id,
        "project_id": project.public_id,
        "model": model,
        "endpoint": endpoint,
        "status": status,
        "error_code": error_code,
    }
    of_a_key = {**of_a_project, "key_id": key.public_id if key else "", "user_id": user_id or new_id("user")}
    sums["requests"] = requests
    if status >= 400 and status != CLIENT_CLOSED:
        sums["errors"] = requests
    for rollup, minutes, cell in (
        (UsageRollup5Min, 5, of_a_key), (UsageRollup15Min, 15, of_a_key), (UsageProjectHour, 60, of_a_project)
    ):  # fmt: skip
        bucket = at - timedelta(minutes=at.minute % minutes, seconds=at.second, microseconds=at.microsecond)
        found = rollup._default_manager.filter(bucket_at=bucket, **cell)
        if not found.update(updated_at=timezone.now(), **{name: F(name) + value for name, value in sums.items()}):
            found.create(bucket_at=bucket, **cell, **sums)


def add_call(project: Project, at: datetime, *, key: ApiKey | None = None, **fields: Any) -> UsageEvent:
    """One call of the ledger; without a key it is the playground's."""
    return UsageEvent.objects.create(
        **{
            "id": uuid7(milliseconds=int(at.timestamp() * 1000)),
            "at": at,
            "request_id": request_id(),
            "source": Source.KEY if key else Source.PLAYGROUND,
            "organization_id": project.organization.public_id,
            "project_id": project.public_id,
            "key_id": key.public_id if key else "",
            "model": "small",
            "endpoint": "chat/completions",
            "status": 200,
            **fields,
        }
    )

"""Writes the ledger as the ingest leaves it, so that tests of pages need no stream."""

import math
from datetime import datetime, timedelta
from typing import Any

from accounts.models import Project
from apikeys.models import ApiKey
from common.ids import new_id, request_id, uuid7
from usage.histograms import BUCKETS, DIGITS, GROWTH
from usage.models import Source, UsageEvent, UsageRollup5Min, UsageRollup15Min


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
    **sums: int,
) -> None:
    """Add one cell to both roll-ups; without a key it is the playground's, of `user_id` or somebody."""
    if "latency_ms_sum" in sums:
        sums.setdefault("latency_count", requests)
    for name in ("latency", "first_token"):
        if count := sums.get(f"{name}_count"):
            sums[f"{name}_histogram"] = histogram(sums[f"{name}_ms_sum"] / count, count)
    for rollup, minutes in ((UsageRollup5Min, 5), (UsageRollup15Min, 15)):
        rollup.objects.create(
            bucket_at=at - timedelta(minutes=at.minute % minutes, seconds=at.second, microseconds=at.microsecond),
            source=source or (Source.KEY if key else Source.PLAYGROUND),
            organization_id=project.organization.public_id,
            project_id=project.public_id,
            key_id=key.public_id if key else "",
            user_id=user_id or new_id("user"),
            model=model,
            endpoint=endpoint,
            requests=requests,
            **sums,
        )


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

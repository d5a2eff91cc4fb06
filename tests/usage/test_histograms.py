"""Percentiles that are told from sums are those of the calls, a tenth off at most."""

import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import TruncHour

from common.ids import uuid7
from tests.usage.test_ingest import event
from usage.histograms import percentiles
from usage.ingest import insert_all
from usage.models import ROLLUPS, Speed, UsageInstallationHour, UsageKeyDay, UsageProjectHour

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 1, 9, 59, tzinfo=UTC)


def add(*milliseconds: int, at: datetime = AT, first_token: int | None = None, model: str = "m") -> None:
    ids = [uuid7(milliseconds=int(at.timestamp() * 1000)).hex for _call in milliseconds]
    times = zip(ids, milliseconds, strict=True)
    insert_all([event(id=id_, latency_ms=took, first_token_ms=first_token, model=model) for id_, took in times])


def exact(values: list[int], share: float) -> int:
    return sorted(values)[math.ceil(len(values) * share) - 1]


@pytest.mark.parametrize("table", ROLLUPS)
def test_it_works(table: type[UsageProjectHour]) -> None:
    chance = random.Random(3)
    times = [int(chance.lognormvariate(6.5, 1.4)) for _ in range(1500)]
    for start in range(0, len(times), 500):
        add(*times[start : start + 500])
    speed = table.objects.percentiles()[()]
    assert speed.first_token is None
    assert speed.latency is not None
    for told, share in ((speed.latency.p50, 0.5), (speed.latency.p95, 0.95), (speed.latency.p99, 0.99)):
        assert told == pytest.approx(exact(times, share), rel=0.1, abs=2)


def test_they_are_told_apart_and_narrowed() -> None:
    add(100, 100, first_token=20, model="fast")
    add(9000, model="slow")
    add(50_000, at=AT + timedelta(minutes=2), model="slow")
    by_model = UsageProjectHour.objects.percentiles("model")
    assert by_model.keys() == {("fast",), ("slow",)}
    fast = by_model["fast",]
    assert fast.latency is not None
    assert fast.first_token is not None
    assert [fast.latency.p99, fast.first_token.p50] == pytest.approx([100, 20], rel=0.1)
    hours = UsageProjectHour.objects.filter(model="slow").annotate(hour=TruncHour("bucket_at")).percentiles("hour")
    medians = [speed.latency.p50 for _hour, speed in sorted(hours.items()) if speed.latency]
    assert medians == pytest.approx([9000, 50_000], rel=0.1)
    assert UsageKeyDay.objects.filter(model="none").percentiles("model") == {}
    assert UsageKeyDay.objects.filter(model="none").percentiles() == {(): Speed(None, None)}


def test_what_the_portal_refuses_is_no_models_time() -> None:
    insert_all([event(latency_ms=900), event(latency_ms=1, status=429, error_code="rate_limit_exceeded", backend="")])
    refused = UsageInstallationHour.objects.percentiles("status")
    assert refused[429,].latency is None
    assert refused[200,].latency is not None


@pytest.mark.parametrize(("milliseconds", "told"), [(0, 1), (1, 1), (2, 2), (10**9, 1_970_000)])
def test_the_ends(milliseconds: int, told: int) -> None:
    add(milliseconds)
    latency = UsageProjectHour.objects.percentiles()[()].latency
    assert latency is not None
    assert latency.p50 == pytest.approx(told, rel=0.1)


def test_of_no_calls_there_are_none() -> None:
    assert percentiles(0) is None

"""The ledger's months: made ahead, dropped whole, and no call is refused for want of one."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from common.ids import uuid7
from tests.usage.test_ingest import event
from usage.ingest import insert_all
from usage.models import UsageEvent, UsageRollup15Min, began
from usage.services import keep_months

pytestmark = pytest.mark.django_db

MONTH = timedelta(days=30.4)


def add(at: datetime) -> str:
    one = event(id=uuid7(milliseconds=int(at.timestamp() * 1000)).hex)
    assert insert_all([one]) == 1
    return one.request_id


def place_of(request_id: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM usage_usageevent WHERE request_id = %s", [request_id])
        return str(cursor.fetchone()[0]).removeprefix("usage_usageevent_")


def months() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usage_usageevent'::regclass"
        )
        return {str(name).removeprefix("usage_usageevent_") for (name,) in cursor.fetchall()}


def in_month(number: int) -> datetime:
    """The middle of the month that is so many after this one."""
    middle = timezone.now().astimezone(UTC).replace(day=15, hour=12)
    count = middle.year * 12 + middle.month - 1 + number
    return middle.replace(year=count // 12, month=count % 12 + 1)


def test_it_works() -> None:
    now = timezone.now()
    assert place_of(add(now)) == f"{now.astimezone(UTC):%Y_%m}"
    keep_months()
    assert {f"{in_month(ahead):%Y_%m}" for ahead in range(4)} | {"other"} == months()


@pytest.mark.parametrize("number", [-12, -13])
def test_a_late_call_is_taken_and_finds_its_month(number: int) -> None:
    late = add(in_month(number))
    assert place_of(late) == "other"
    keep_months()
    keep_months()
    assert place_of(late) == f"{in_month(number):%Y_%m}"


def test_a_call_of_a_clock_that_is_ahead_waits_for_its_month() -> None:
    ahead = add(in_month(40))
    keep_months()
    assert place_of(ahead) == "other"


def test_months_that_are_kept_no_longer_go_and_their_sums_stay(settings: LazySettings) -> None:
    old, kept = add(in_month(-3)), add(in_month(-2))
    keep_months()
    settings.USAGE_RETENTION_MONTHS = 2
    late = add(in_month(-30))
    keep_months()
    assert list(UsageEvent.objects.values_list("request_id", flat=True)) == [kept]
    assert f"{in_month(-3):%Y_%m}" not in months()
    assert UsageRollup15Min.objects.count() == 3
    assert old != late


@pytest.mark.parametrize("asked", [0, 1, -5])
def test_the_last_month_is_always_kept(settings: LazySettings, asked: int) -> None:
    settings.USAGE_RETENTION_MONTHS = asked
    last = add(in_month(-1))
    keep_months()
    assert place_of(last) == f"{in_month(-1):%Y_%m}"


def test_a_call_comes_once_also_where_it_had_no_month() -> None:
    one = event(id=uuid7(milliseconds=int(in_month(-5).timestamp() * 1000)).hex)
    assert insert_all([one]) == 1
    keep_months()
    assert insert_all([one]) == 0


def test_who_asks_for_a_time_opens_no_other_month() -> None:
    moment = in_month(0)
    plan = UsageEvent.objects.between(moment, moment + timedelta(hours=1)).explain()
    assert f"usage_usageevent_{moment:%Y_%m}" in plan
    assert "Append" not in plan
    assert "other" not in plan


@pytest.mark.parametrize("microseconds", [-1, 0, 1, 500, 999, 1000])
def test_the_bounds_are_to_the_microsecond(microseconds: int) -> None:
    moment = in_month(0).replace(microsecond=7000)
    add(moment)
    bound = moment + timedelta(microseconds=microseconds)
    assert UsageEvent.objects.filter(began(since=bound)).exists() == (microseconds <= 0)
    assert UsageEvent.objects.filter(began(until=bound)).exists() == (microseconds > 0)

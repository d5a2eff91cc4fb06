"""`manage.py reconcile`: events, sums and counters agree, what differs is named, and the events are the truth."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db.models import Sum
from django.utils import timezone
from structlog.testing import capture_logs

from accounts.erasure import erase_account, request_erasure
from accounts.models import Project, User
from common import redis as servers
from common.errors import BudgetError
from common.ids import uuid7
from common.limits import Limits
from notifications.models import Notification
from tests import services
from tests.usage.ledger import a_key
from tests.usage.test_admission import (
    DEMAND,
    Desk,
    at_desk,
    budget,
    caller,
    counted,
    counter_key,
    event,
    scope_key,
    seeded,
)
from usage.events import STREAM, Event
from usage.ingest import drain
from usage.models import (
    MEASURES,
    ROLLUPS,
    UsageEvent,
    UsageInstallationHour,
    UsageKeyDay,
    UsageRollup5Min,
    UsageRollup15Min,
)
from usage.policies import MEMBER, ORGANIZATION, PARTICIPANT, PLAN, Caller, with_ceiling
from usage.spool import Settlement, Spool
from usage.tasks import look_for_drift

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_redis(settings: LazySettings) -> Iterator[None]:
    with services.durable_redis_of_its_own(settings):
        yield


def reconcile(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints."""
    call_command("reconcile", *arguments)
    return capsys.readouterr().out


@pytest.fixture
def used() -> Caller:
    """A caller who has a budget and used it: two calls are in the ledger, one waits, one runs."""
    who = caller(monthly_budget_nano=10_000, concurrent_requests=9)
    assert seeded(who)

    async def call(desk: Desk, *costs: int) -> None:
        for cost in costs:
            await desk.settle(await desk.admit(most_nano=500), cost=cost)

    at_desk(who, lambda desk: call(desk, 100, 200))
    drain()
    at_desk(who, lambda desk: call(desk, 300))
    at_desk(who, lambda desk: desk.admit(most_nano=500))
    assert budget(who) == {"spent": 600, "held": 500}
    return who


def test_it_works(used: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    said = reconcile(capsys, "--strict")
    assert "2 events in the records and 1 waiting in the stream, 1 counters in Redis: 0 differences." in said
    drain()
    assert "3 events in the records and 0 waiting" in reconcile(capsys, "--strict")


def _wrong_sums() -> None:
    UsageRollup15Min.objects.update(cost_nano=1)


def _a_sum_too_many() -> None:
    row = UsageRollup5Min.objects.get()
    row.pk, row.model = None, "other"
    row.save()


def _a_sum_too_few() -> None:
    UsageRollup5Min.objects.all().delete()


def _a_histogram_of_another() -> None:
    UsageKeyDay.objects.update(latency_histogram=5)


@pytest.mark.parametrize("spoil", [_wrong_sums, _a_sum_too_many, _a_sum_too_few, _a_histogram_of_another])
def test_sums_that_are_wrong_are_named_and_made_anew(
    used: Caller, capsys: pytest.CaptureFixture[str], spoil: Any
) -> None:
    kept = [sums_of(table) for table in ROLLUPS]
    spoil()
    with pytest.raises(CommandError):
        call_command("reconcile", "--strict")
    said = capsys.readouterr().out
    assert used.organization_id in said
    assert "cells that differ: 1 instead of 0" in said
    assert "0 differences are left" in reconcile(capsys, "--repair", "--strict")
    assert [sums_of(table) for table in ROLLUPS] == kept


def test_sums_of_the_whole_portal_that_are_wrong_are_made_anew(
    used: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = sums_of(UsageInstallationHour)
    UsageInstallationHour.objects.update(requests=9)
    assert "hourly sums of the portal: requests in them: 9 instead of 2" in reconcile(capsys, "--repair")
    assert sums_of(UsageInstallationHour) == kept


def sums_of(table: Any) -> list[dict[str, Any]]:
    return list(table.objects.order_by(*table.CELL).values(*table.CELL, *MEASURES))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("spent", -77), ("held", 120), ("held", -500), ("requests", 2), ("tokens", -5), ("gpu", 9), ("held_tokens", 4)],
)
def test_counters_that_are_wrong_are_named_and_corrected(
    used: Caller, capsys: pytest.CaptureFixture[str], name: str, wrong: int
) -> None:
    right = counted(used)
    servers.durable().hincrby(counter_key(used), name, wrong)
    what = {
        "spent": "spent nano-dollars",
        "held": "reserved nano-dollars",
        "held_tokens": "reserved tokens",
        "gpu": "milliseconds of servers",
    }.get(name, name)
    said = reconcile(capsys)
    assert f"key {used.key_id}: {what}: {right[name] + wrong} instead of {right[name]}" in said
    reconcile(capsys, "--repair", "--strict")
    assert counted(used) == right


def test_leases_and_slots_that_belong_to_no_call_are_ended(used: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    client, base = servers.durable(), f"ly:{{{used.organization_id}}}:"
    client.zadd(f"{base}leases", {"nobody": 9e12})
    client.zadd(scope_key(used, "running"), {"nobody": 9e12})
    said = reconcile(capsys)
    assert "ends of reservations that are gone: 1 instead of 0" in said
    assert "slots of calls that are over" in said
    reconcile(capsys, "--repair", "--strict")
    client.delete(f"{base}leases", "ly:leases")
    said = reconcile(capsys)
    assert "reservations without an end: 1" in said
    assert "calls that nobody would settle after a crash: 1" in said
    reconcile(capsys, "--repair", "--strict")
    assert client.zcard(f"{base}leases") == client.sismember("ly:leases", used.organization_id) == 1


def test_what_redis_lost_is_counted_anew_from_the_records(used: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    drain()
    servers.durable().flushdb()
    services.open_budgets()
    assert seeded(used)
    assert budget(used) == {"spent": 600, "held": 0}
    reconcile(capsys, "--strict")

    async def work(desk: Desk) -> None:
        with pytest.raises(BudgetError):
            await desk.admit(most_nano=9_401)
        await desk.settle(await desk.admit(most_nano=9_400), cost=9_400)

    at_desk(used, work)
    drain()
    reconcile(capsys, "--strict")
    assert budget(used) == {"spent": 10_000, "held": 0}


def test_a_call_appended_twice_counts_as_it_will_be_written(used: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    """A call that was settled by the reaper, and by its own process when that came to again."""
    client: Any = servers.durable()
    (_entry, fields) = client.xrevrange(STREAM, count=1)[0]
    again = replace(Event.decode(fields["e"]), cost_nano=9)
    client.xadd(STREAM, {"e": again.encode()})
    reconcile(capsys, "--strict")
    drain()
    reconcile(capsys, "--strict")


def test_the_budget_of_a_plan_is_that_of_the_whole_organization(capsys: pytest.CaptureFixture[str]) -> None:
    who = caller()
    held = with_ceiling(PLAN, who.organization_id, Limits(monthly_budget_nano=1000), name="Starter")
    who = replace(who, scopes=(held,))
    assert seeded(who)

    async def work(desk: Desk) -> None:
        admission = await desk.admit(most_nano=500)
        await desk.admissions.settle(admission, replace(event(who, cost=50), id=admission.id, key_id="key_of_another"))

    at_desk(who, work)
    reconcile(capsys, "--strict")
    drain()
    assert "1 counters in Redis: 0 differences" in reconcile(capsys, "--strict")


def use(person: User, *, key_id: str = "", user_id: str = "") -> None:
    """A call that counts against a budget of somebody's own, in the ledger."""
    who = caller()
    limits = Limits(monthly_budget_nano=1000)
    share = with_ceiling(PARTICIPANT, f"{who.project_id}.{person.public_id}", limits, name="Course")
    made = replace(who, key_id=key_id, user_id=user_id, scopes=(share,))
    assert seeded(made)

    async def work(desk: Desk) -> None:
        admission = await desk.admit(most_nano=500)
        done = replace(event(made, cost=50), id=admission.id, key_id=key_id, user_id=user_id)
        await desk.admissions.settle(admission, done)

    at_desk(made, work)


def test_the_budget_of_a_participant_is_that_of_all_their_keys_and_runs(capsys: pytest.CaptureFixture[str]) -> None:
    person = User.objects.create_user("ann@example.com")
    use(person, user_id=person.public_id)
    reconcile(capsys, "--strict")
    drain()
    assert "1 counters in Redis: 0 differences" in reconcile(capsys, "--strict")
    UsageEvent.objects.update(cost_nano=51)
    assert f"{person.public_id}: spent nano-dollars: 50 instead of 51" in reconcile(capsys)


def test_what_somebody_used_whose_account_was_erased_is_no_drift(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Others go on in the organization; the keys are of somebody with another id since."""
    person = User.objects.create_user("ann@example.com")
    use(person, key_id=a_key(project, created_by=person).public_id)
    drain()
    assert "1 counters in Redis: 0 differences" in reconcile(capsys, "--strict")
    erase_account(erasure=request_erasure(user=person))
    assert "1 counters in Redis: 0 differences" in reconcile(capsys, "--strict")


def test_what_people_used_in_an_organization_that_was_erased_is_no_drift(capsys: pytest.CaptureFixture[str]) -> None:
    """Its keys are gone, and with them who made them, be they themselves still here."""
    who, person = caller(), User.objects.create_user("ann@example.com")
    limits = Limits(monthly_budget_nano=1000)
    share = with_ceiling(MEMBER, f"{who.organization_id}.{person.public_id}", limits)
    whole = with_ceiling(ORGANIZATION, who.organization_id, limits)
    made = replace(who, key_id="key_that_is_gone", scopes=(share, whole))
    assert seeded(made)

    async def work(desk: Desk) -> None:
        admission = await desk.admit(most_nano=500)
        done = replace(event(made, cost=50), id=admission.id, key_id=made.key_id, user_id="")
        await desk.admissions.settle(admission, done)

    at_desk(made, work)
    drain()
    assert "2 counters in Redis: 0 differences" in reconcile(capsys, "--strict")


def test_what_waits_on_the_disk_counts_nowhere_yet(
    used: Caller, capsys: pytest.CaptureFixture[str], settings: LazySettings, tmp_path: Any
) -> None:
    settings.VAR_DIR = tmp_path
    spool = Spool()
    asyncio.run(spool.append(Settlement(keys=("ly:{o}:leases",), args=("1", "0", "0", "", ""))))
    assert "1 settlements wait on this machine's disk" in reconcile(capsys, "--strict")


def test_a_month_whose_events_were_dropped_keeps_its_sums(capsys: pytest.CaptureFixture[str]) -> None:
    long_ago = datetime(2025, 3, 5, tzinfo=UTC)
    who = caller()
    servers.durable().xadd(STREAM, {"e": at(who, long_ago).encode()})
    drain()
    assert "1 events" in reconcile(capsys, "--month", "2025-03", "--strict")
    UsageEvent.objects.all().delete()
    with pytest.raises(CommandError):
        call_command("reconcile", "--month", "2025-03", "--repair", "--strict")
    assert UsageRollup15Min.objects.aggregate(sum=Sum("requests"))["sum"] == 1


def at(who: Caller, moment: datetime, **fields: Any) -> Event:
    return replace(event(who, **fields), id=uuid7(milliseconds=int(moment.timestamp() * 1000)).hex)


@pytest.mark.parametrize("step", [timedelta(days=-32), timedelta(days=32)])
def test_a_clock_that_jumps_counts_money_in_the_month_of_the_event(
    capsys: pytest.CaptureFixture[str], step: timedelta
) -> None:
    who, then = caller(monthly_budget_nano=1000), timezone.now() + step
    assert seeded(who, then)

    async def work(desk: Desk) -> None:
        called = at(who, then, cost=70)
        admission = await desk.admissions.admit(who, replace(DEMAND, most_nano=100), id=called.id, lost=called)
        await desk.admissions.settle(admission, called)

    at_desk(who, work)
    assert budget(who) == {"spent": 70, "held": 0}
    reconcile(capsys, "--strict", "--month", f"{then:%Y-%m}")
    drain()
    assert "1 events in the records" in reconcile(capsys, "--strict", "--month", f"{then:%Y-%m}")


def test_staff_are_told_of_a_drift_and_not_every_night_anew(used: Caller, sam: User, ada: User) -> None:
    look_for_drift()
    assert not Notification.objects.exists()
    UsageRollup15Min.objects.update(cost_nano=1)
    with capture_logs() as logs:
        look_for_drift()
        look_for_drift()
    assert [
        (log["event"], log["log_level"], log["organizations"]) for log in logs if log["event"] == "usage_drift"
    ] == [("usage_drift", "error", 1)] * 2
    told = Notification.objects.get()
    assert (told.recipient, told.count) == (sam, 1)


@pytest.mark.parametrize("month", ["2026-13", "202603", "march"])
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(CommandError, match=re.escape(month)):
        call_command("reconcile", "--month", month)

"""What a usage report says, for clocks everywhere."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db.models import Sum
from django.utils import timezone

from accounts.models import Project, User
from accounts.services import open_workspace
from common.ids import uuid7
from tests.usage.ledger import a_key, add_usage, histogram
from tests.usage.test_ingest import FEW, emit, event, uuid7_at
from usage.ingest import drain, insert_all
from usage.models import UsageKeyDay, UsageRollup5Min, UsageRollup15Min
from usage.reports import (
    Group,
    KeyState,
    Narrowing,
    Report,
    Sums,
    Window,
    failures,
    last_change,
    period_of,
    usage_report,
    week_of,
)
from usage.sight import Sight

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 18, 12, 2, tzinfo=UTC)
JUST_NOW = NOON - timedelta(minutes=1)
KATHMANDU = ZoneInfo("Asia/Kathmandu")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def project() -> Project:
    return open_workspace(user=User.objects.create_user("reader@example.com"))


def report(project: Project, **changes: Any) -> Report:
    asked: dict[str, Any] = {"window": Window.TODAY, "group": Group.MODEL, "zone": UTC, "now": NOON, **changes}
    return usage_report(sights=[Sight(project)], **asked)


def test_it_works(project: Project, django_assert_num_queries: Any) -> None:
    key = a_key(project)
    add_usage(project, NOON - timedelta(hours=2), key=key, requests=3, errors=1, prompt_tokens=30, completion_tokens=12)
    add_usage(project, NOON, key=key, model="large", requests=1, cost_nano=500, latency_ms_sum=800)
    add_usage(project, NOON - timedelta(days=1, hours=1), key=key, requests=8)
    with django_assert_num_queries(2):  # this period, the one before
        today = report(project)
    assert today.totals == Sums(
        requests=4,
        errors=1,
        prompt_tokens=30,
        completion_tokens=12,
        cost_nano=500,
        latency_ms_sum=800,
        latency_count=1,
        latency_histogram=histogram(800),
    )
    assert today.totals.latency is not None
    assert today.totals.latency.p95 == pytest.approx(800, rel=0.1)
    assert today.before.requests == 8
    assert [(row.id, row.sums.requests, row.before.requests) for row in today.rows] == [
        ("small", 3, 8),
        ("large", 1, 0),
    ]
    assert len(today.slices) == 24
    assert {piece.start.hour: piece.sums.requests for piece in today.slices if piece.sums.requests} == {10: 3, 12: 1}


def test_failures_are_told_by_code_and_time(project: Project) -> None:
    key = a_key(project)
    for at, status, code, made_with in (
        (JUST_NOW, 429, "rate_limit_exceeded", None),
        (JUST_NOW - timedelta(hours=2), 429, "rate_limit_exceeded", key),
        (JUST_NOW, 502, "", key),
        (JUST_NOW, 499, "client_closed", None),
        (JUST_NOW - timedelta(days=1), 500, "old", None),
        (JUST_NOW, 200, "", None),
    ):
        add_usage(project, at, status=status, error_code=code, key=made_with)
    found = failures(report(project), sights=[Sight(project)])
    assert [(kind.label, kind.status, kind.calls) for kind in found] == [
        ("rate_limit_exceeded", 429, 2),
        ("502", 502, 1),
    ]
    assert sorted(start.hour for start in found[0].slices) == [10, 12]
    assert found[1].problem is not None
    assert found[1].problem.section == "upstream"
    of_key = Narrowing(key=key.public_id)
    narrowed = failures(report(project, narrowing=of_key), sights=[Sight(project)])
    assert [kind.calls for kind in narrowed] == [1, 1]
    assert failures(report(project), sights=[Sight(project, own=("nobody", ()))]) == []


@pytest.mark.parametrize("window", [Window.HOUR, Window.TODAY, Window.MONTH, Window.YEAR])
def test_how_calls_ended_is_told_of_any_time_and_of_anything(project: Project, window: Window) -> None:
    """Of a key as well, for which there are other sums than for a project."""
    ends = [(200, ""), (200, ""), (400, ""), (429, "rate_limit_exceeded"), (429, "key_daily_budget"), (499, "x")]
    who = {"project_id": project.public_id, "organization_id": project.organization.public_id}
    for key in ("key_a", "key_b"):
        insert_all(
            [
                event(id=uuid7_at(JUST_NOW), status=status, error_code=code, key_id=key, **who)
                for status, code in ends
            ]
        )  # fmt: skip

    def found(**narrowing: str) -> dict[str, int]:
        by_status = report(project, window=window, group=Group.STATUS, narrowing=Narrowing(**narrowing))
        return {row.id: row.sums.requests for row in by_status.rows}

    assert found() == {"200": 4, "429": 4, "400": 2, "499": 2}
    assert found(key="key_a") == {"200": 2, "429": 2, "400": 1, "499": 1}
    for status, kept in (
        ("answered", {"200"}),
        ("failed", {"400", "429"}),
        ("4xx", {"400", "429"}),
        ("5xx", set()),
        ("499", {"499"}),
        ("429", {"429"}),
    ):
        assert found(status=status).keys() == found(status=status, key="key_b").keys() == kept
    assert found(code="key_daily_budget") == {"429": 2}
    assert found(code="key_daily_budget", key="key_a") == {"429": 1}
    assert found(code="key_daily_budget", status="400") == {}
    assert found(code="key_monthly_budget") == {}
    # Clients read one code of every budget.
    assert found(code="insufficient_quota") == {"429": 2}
    asked = report(project, window=window, narrowing=Narrowing(status="429"))
    assert [(kind.code, kind.calls) for kind in failures(asked, sights=[Sight(project)])] == [
        ("key_daily_budget", 2),
        ("rate_limit_exceeded", 2),
    ]


def test_members_are_told_apart_by_their_runs_and_keys(project: Project) -> None:
    reader = project.organization.memberships.get().user
    key = a_key(project, created_by=reader)
    add_usage(project, JUST_NOW, key=key, user_id="", requests=2)
    UsageRollup15Min.objects.update(user_id="")
    add_usage(project, JUST_NOW, user_id=reader.public_id, model="large")
    add_usage(project, JUST_NOW, user_id="user_gone", endpoint="embeddings")
    seen = [Sight(project, sees_people=True)]
    asked: dict[str, Any] = {"window": Window.TODAY, "zone": UTC, "now": NOON, "sights": seen}
    by_member = usage_report(group=Group.MEMBER, **asked)
    assert [(row.id, row.sums.requests) for row in by_member.rows] == [(reader.public_id, 3), ("user_gone", 1)]
    assert [row.name.state for row in by_member.rows] == [KeyState.CURRENT, KeyState.GONE]
    of_one = usage_report(group=Group.MODEL, narrowing=Narrowing(member=reader.public_id), **asked)
    assert {row.id: row.sums.requests for row in of_one.rows} == {"small": 2, "large": 1}
    embedded = usage_report(group=Group.ENDPOINT, narrowing=Narrowing(endpoint="embeddings"), **asked)
    assert [(row.name.label, row.sums.requests) for row in embedded.rows] == [("/v1/embeddings", 1)]


def test_whose_calls_they_are_is_not_told_to_everybody(project: Project) -> None:
    add_usage(project, JUST_NOW)
    assert report(project).totals.requests == 1
    assert report(project, group=Group.MEMBER).totals.requests == 0
    assert report(project, narrowing=Narrowing(member="user_x")).totals.requests == 0


def test_nor_are_their_failures_and_hours(project: Project) -> None:
    """Of two projects the reader knows in one whose calls they are."""
    second = Project.objects.create(organization=project.organization, name="Second")
    reader = project.organization.memberships.get().user
    for called in (project, second):
        add_usage(called, JUST_NOW, user_id=reader.public_id, status=429, error_code="rate_limit_exceeded")
    seen = [Sight(project), Sight(second, sees_people=True)]
    asked: dict[str, Any] = {"sights": seen, "window": Window.MONTH, "zone": UTC, "now": NOON}
    for narrowed in (
        usage_report(group=Group.MEMBER, **asked),
        usage_report(group=Group.MODEL, narrowing=Narrowing(member=reader.public_id), **asked),
    ):
        assert narrowed.totals.errors == 1
        assert [failure.calls for failure in failures(narrowed, sights=seen)] == [1]
        week = week_of(narrowed, sights=seen)
        assert week is not None
        assert week.most == 1


@pytest.mark.parametrize("window", [Window.QUARTER, Window.YEAR])
def test_long_windows_are_made_of_days_of_utc(project: Project, window: Window) -> None:
    who = {"project_id": project.public_id, "organization_id": project.organization.public_id}
    for at, status, code in (
        (JUST_NOW, 200, ""),
        (JUST_NOW, 429, "rate_limit_exceeded"),
        (datetime(2026, 3, 1, tzinfo=UTC), 200, ""),
        (datetime(2025, 12, 1, tzinfo=UTC), 200, ""),
        (datetime(2025, 4, 1, tzinfo=UTC), 200, ""),
        (datetime(2025, 3, 18, tzinfo=UTC), 200, ""),
    ):
        insert_all(
            [event(id=uuid7(milliseconds=int(at.timestamp() * 1000)).hex, status=status, error_code=code, **who)]
        )
    found = report(project, window=window, zone=KATHMANDU)
    assert str(found.zone) == "UTC"
    by_time = {f"{piece.start:%Y-%m-%d}": piece.sums.requests for piece in found.slices if piece.sums.requests}
    if window is Window.YEAR:
        assert by_time == {"2025-04-01": 1, "2025-12-01": 1, "2026-03-01": 3}
        assert found.before.requests == 1
    else:
        assert by_time == {"2026-03-01": 1, "2026-03-18": 2}
        assert found.before.requests == 1
    assert found.totals.latency is not None
    (failure,) = failures(found, sights=[Sight(project)])
    assert (failure.code, list(failure.slices.values())) == ("rate_limit_exceeded", [1])


def test_the_week_is_that_of_the_readers_clock(project: Project) -> None:
    add_usage(project, NOON - timedelta(days=7), requests=2)  # a Wednesday, 17:47 in Kathmandu
    add_usage(project, NOON - timedelta(days=14), requests=3)
    add_usage(project, datetime(2026, 3, 15, 18, 30, tzinfo=UTC))  # a Sunday, and there a Monday already
    add_usage(project, NOON - timedelta(days=40), requests=100)
    month = report(project, window=Window.MONTH, zone=KATHMANDU)
    week = week_of(month, sights=[Sight(project)])
    assert week is not None
    used = {(day, hour): count for day, hours in enumerate(week.days) for hour, count in enumerate(hours) if count}
    assert used == {(2, 17): 5, (0, 0): 1}
    assert (week.busiest, week.most) == ((2, 17), 5)


@pytest.mark.parametrize("window", [Window.HOUR, Window.TODAY, Window.YEAR])
def test_what_is_no_week_has_none(project: Project, window: Window) -> None:
    add_usage(project, JUST_NOW)
    assert week_of(report(project, window=window), sights=[Sight(project)]) is None


def test_nothing_used_is_a_report_of_zeros(project: Project) -> None:
    empty = report(project, window=Window.MONTH)
    assert (empty.totals, empty.before, empty.rows) == (Sums(), Sums(), ())
    assert len(empty.slices) == 30


def test_what_was_not_measured_is_not_zero() -> None:
    assert Sums().mean_latency_ms is None
    assert Sums().mean_first_token_ms is None
    assert Sums().error_share is None
    assert Sums(requests=9, latency_ms_sum=10, latency_count=4).mean_latency_ms == 2.5


def test_another_project_is_not_counted(project: Project) -> None:
    stranger = open_workspace(user=User.objects.create_user("stranger@example.com"))
    add_usage(stranger, NOON)
    assert report(project).totals.requests == 0


def test_several_projects_are_summed(project: Project) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    add_usage(project, NOON, requests=1)
    add_usage(second, NOON, requests=2)
    both = usage_report(
        sights=[Sight(project), Sight(second)], window=Window.TODAY, group=Group.MODEL, zone=UTC, now=NOON
    )
    assert both.totals.requests == 3


def test_days_are_the_viewers_days(project: Project) -> None:
    # 18:15 UTC is midnight in Kathmandu: five-hour-forty-five zones are why there are quarter-hour sums.
    add_usage(project, datetime(2026, 3, 17, 18, 14, tzinfo=UTC), requests=1)
    add_usage(project, datetime(2026, 3, 17, 18, 15, tzinfo=UTC), requests=2)
    assert report(project, zone=KATHMANDU).totals.requests == 2
    week = report(project, zone=KATHMANDU, window=Window.WEEK)
    assert [piece.sums.requests for piece in week.slices] == [0, 0, 0, 0, 0, 1, 2]
    assert week.slices[-1].start == datetime(2026, 3, 17, 18, 15, tzinfo=UTC)
    assert report(project, window=Window.WEEK).slices[-2].sums.requests == 3


def test_hours_start_at_the_viewers_midnight(project: Project) -> None:
    add_usage(project, datetime(2026, 3, 17, 19, 14, tzinfo=UTC), requests=1)
    add_usage(project, datetime(2026, 3, 17, 19, 15, tzinfo=UTC), requests=2)
    assert [piece.sums.requests for piece in report(project, zone=KATHMANDU).slices][:3] == [1, 2, 0]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_a_day_on_which_the_clock_changes_has_its_own_length(day: str, hours: int) -> None:
    period = period_of(Window.TODAY, zone=BERLIN, now=datetime.fromisoformat(f"{day}T15:00:00+00:00"))
    assert len(period.starts) == hours


def test_the_hour_that_comes_twice_is_not_merged(project: Project) -> None:
    add_usage(project, datetime(2026, 10, 25, 0, 30, tzinfo=UTC), requests=1)  # 02:30, summer time
    add_usage(project, datetime(2026, 10, 25, 1, 30, tzinfo=UTC), requests=2)  # 02:30, winter time
    slices = report(project, zone=BERLIN, now=datetime(2026, 10, 25, 15, tzinfo=UTC)).slices
    assert [piece.sums.requests for piece in slices][:5] == [0, 0, 1, 2, 0]


def test_a_morning_is_compared_with_a_morning(project: Project) -> None:
    add_usage(project, NOON - timedelta(days=1, minutes=30), requests=1)
    add_usage(project, NOON - timedelta(days=1) + timedelta(minutes=30), requests=2)
    assert report(project).before.requests == 1


def test_the_period_before_has_slices_where_it_is_compared(project: Project, django_assert_num_queries: Any) -> None:
    """Whole, though what is compared in all ends as early as now."""
    yesterday = NOON - timedelta(days=1)
    add_usage(project, yesterday, requests=2, latency_ms_sum=800)
    add_usage(project, yesterday, model="large", requests=1)
    add_usage(project, yesterday + timedelta(hours=5), requests=4, status=429)
    assert report(project).before_slices == ()
    with django_assert_num_queries(2):  # this period, the one before
        compared = report(project, compares=True)
    assert (compared.before.requests, compared.whole_before.requests, compared.whole_before.errors) == (3, 7, 4)
    assert [(row.id, row.before.requests) for row in compared.rows] == []
    assert len(compared.before_slices) == 24
    used = [piece for piece in compared.before_slices if piece and piece.sums.requests]
    assert [(piece.start, piece.sums.requests) for piece in used] == [
        (yesterday.replace(minute=0), 3),
        (yesterday.replace(hour=17, minute=0), 4),
    ]
    assert used[0].sums.mean_latency_ms == 400
    add_usage(project, NOON)
    compared = report(project, compares=True)
    assert [(row.id, row.sums.requests, row.before.requests) for row in compared.rows] == [("small", 1, 2)]


@pytest.mark.parametrize("zone", [UTC, BERLIN, KATHMANDU], ids=str)
@pytest.mark.parametrize("window", Window)
def test_slices_are_compared_with_those_in_their_place(project: Project, window: Window, zone: tzinfo) -> None:
    period = report(project, window=window, zone=zone).period
    assert len(period.before_starts) == len(period.starts)
    assert (period.before_starts[0], None in period.before_starts) == (period.before_start, False)
    places = {0, len(period.starts) // 3, len(period.starts) - 1}
    for place in places:
        start = period.before_starts[place]
        assert start is not None
        if period.rollup is UsageKeyDay:
            add_to_days(project, start, requests=place + 1)
        else:
            add_usage(project, start, requests=place + 1)
    compared = report(project, window=window, zone=zone, compares=True)
    counted = [piece.sums.requests for piece in compared.before_slices if piece]
    assert counted == [place + 1 if place in places else 0 for place in range(len(period.starts))]


def add_to_days(project: Project, at: datetime, *, requests: int) -> None:
    UsageKeyDay.objects.create(
        bucket_at=at,
        organization_id=project.organization.public_id,
        project_id=project.public_id,
        model="small",
        status=200,
        requests=requests,
    )


HOURS_OF_BERLIN = {
    "2026-03-29": ("01:00", 23),  # has no two o'clock: yesterday's goes with the hour before it
    "2026-03-30": (None, 24),  # yesterday had none
    "2026-10-25": ("02:00", 25),  # has two of them: yesterday's goes with the first
    "2026-10-26": ("02:00", 24),  # yesterday had two, which go with the only one
}


@pytest.mark.parametrize(("day", "place", "hours"), [(day, *of) for day, of in HOURS_OF_BERLIN.items()])
def test_hours_are_compared_with_what_the_clock_showed(
    project: Project, day: str, place: str | None, hours: int
) -> None:
    now = datetime.fromisoformat(f"{day}T15:00:00+00:00")
    asked: dict[str, Any] = {"zone": BERLIN, "now": now}
    period = report(project, **asked).period
    length = (period.start - period.before_start) // timedelta(hours=1)
    for hour in range(length):
        add_usage(project, period.before_start + timedelta(hours=hour), requests=10**6 if hour == 2 else 1)
    compared = report(project, compares=True, **asked)
    assert len(compared.before_slices) == len(compared.slices) == hours
    # Whatever the clock did, nothing is lost and nothing counted twice.
    assert compared.whole_before.requests == 10**6 + length - 1
    for piece, before in zip(compared.slices, compared.before_slices, strict=True):
        if before:
            assert before.start.astimezone(BERLIN).time() == piece.start.astimezone(BERLIN).time()
    missing = [
        f"{piece.start.astimezone(BERLIN):%H:%M}"
        for piece, before in zip(compared.slices, compared.before_slices, strict=True)
        if before is None
    ]
    assert missing == {"2026-03-30": ["02:00"], "2026-10-25": ["02:00"]}.get(day, [])
    much = [piece for piece in compared.before_slices if piece and piece.sums.requests >= 10**6]
    assert f"{much[0].start.astimezone(BERLIN):%H:%M}" == (place or "03:00")
    assert much[0].sums.requests == 10**6 + {"2026-03-29": 1, "2026-10-26": 1}.get(day, 0)


@pytest.mark.parametrize(("window", "days"), [(Window.WEEK, 7), (Window.MONTH, 30)])
def test_the_period_before_is_as_long(project: Project, window: Window, days: int) -> None:
    add_usage(project, NOON - timedelta(days=days - 1), requests=1)
    add_usage(project, NOON - timedelta(days=days, hours=1), requests=2)
    add_usage(project, NOON - timedelta(days=2 * days - 1), requests=4)
    add_usage(project, NOON - timedelta(days=2 * days), requests=8)
    seen = report(project, window=window)
    assert (seen.totals.requests, seen.before.requests) == (1, 6)


def test_the_last_hour_goes_by_five_minutes(project: Project) -> None:
    add_usage(project, NOON - timedelta(minutes=58), requests=1)
    add_usage(project, NOON - timedelta(minutes=7), requests=2)
    add_usage(project, NOON, requests=4)
    hour = report(project, window=Window.HOUR)
    assert [piece.sums.requests for piece in hour.slices] == [0] * 10 + [2, 4]
    assert hour.before.requests == 1


def test_statuses_bear_their_names(project: Project) -> None:
    for status in (200, 429, 499, 529):
        add_usage(project, NOON, status=status)
    named = {row.id: row.name.label for row in report(project, group=Group.STATUS).rows}
    assert named == {
        "200": "200 OK",
        "429": "429 Too Many Requests",
        "499": "499: the client hung up",
        "529": "529",
    }


def test_keys_bear_their_names(project: Project, django_assert_num_queries: Any) -> None:
    live = a_key(project, name="Laptop")
    revoked = a_key(project, name="Old laptop", revoked_at=NOON)
    vanished = a_key(project, name="Nobody knows")
    for requests, key in enumerate([None, live, revoked, vanished], start=1):
        add_usage(project, NOON, key=key, requests=requests)
    vanished_id = vanished.public_id
    vanished.delete()
    with django_assert_num_queries(3):  # this period, the one before, the names of keys
        by_key = report(project, group=Group.KEY)
    assert [(row.id, row.name.label, row.name.hint, row.name.state) for row in by_key.rows] == [
        (vanished_id, "Deleted key", vanished_id, KeyState.GONE),
        (revoked.public_id, "Old laptop", "lyc_test…wxyz", KeyState.REVOKED),
        (live.public_id, "Laptop", "lyc_test…wxyz", KeyState.CURRENT),
        ("playground", "Playground", "", KeyState.CURRENT),
    ]


def test_the_name_of_another_projects_key_is_not_told(project: Project) -> None:
    stranger = open_workspace(user=User.objects.create_user("stranger@example.com"))
    add_usage(project, NOON, key=a_key(stranger, name="Secret plan"))
    assert report(project, group=Group.KEY).rows[0].name.state is KeyState.GONE


def test_a_change_is_seen(project: Project) -> None:
    def newest() -> datetime | None:
        return last_change(sights=[Sight(project)], period=period_of(Window.TODAY, zone=UTC, now=NOON))

    assert newest() is None
    add_usage(project, NOON)
    before = newest()
    assert before is not None
    UsageRollup5Min.objects.update(updated_at=timezone.now())
    assert newest() == before  # the page of today reads the quarter hours
    add_usage(project, NOON, model="large")
    assert newest() != before


EDGES = [
    datetime(2026, 2, 28, 23, tzinfo=UTC),  # midnight in Berlin, and there a month begins
    datetime(2026, 3, 1, tzinfo=UTC),
    datetime(2026, 3, 10, 7, 5, tzinfo=UTC),
    datetime(2026, 3, 16, 18, 15, tzinfo=UTC),  # midnight in Kathmandu
    datetime(2026, 3, 28, 23, tzinfo=UTC),  # midnight in Berlin
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # two o'clock in Berlin, which becomes three
    datetime(2026, 3, 29, 22, tzinfo=UTC),  # midnight in Berlin, an hour earlier than the day before
]
A_MOMENT = timedelta(milliseconds=1)


@pytest.mark.parametrize("zone", [UTC, BERLIN, KATHMANDU], ids=str)
def test_calls_at_the_edges_of_time_count_where_they_belong(project: Project, zone: tzinfo) -> None:
    """They come months late, in no order, and some after the sums of their time were made."""
    drain()
    moments = [edge + step for edge in EDGES for step in (-A_MOMENT, timedelta(), A_MOMENT)] * 2
    random.Random(3).shuffle(moments)
    for some in (moments[:30], moments[30:]):
        who = {"organization_id": project.organization.public_id, "project_id": project.public_id}
        emit(*(event(id=uuid7_at(at), **who) for at in some))
        assert drain() == len(some)
    for rollup in (UsageRollup5Min, UsageRollup15Min):
        of_project = rollup.objects.filter(project_id=project.public_id)
        total = of_project.aggregate(requests=Sum("requests"), cost=Sum("cost_nano"))
        assert total == {"requests": len(moments), "cost": len(moments) * FEW.cost_nano}

    month = report(project, window=Window.MONTH, zone=zone, now=datetime(2026, 3, 30, 12, tzinfo=UTC))
    by_day = Counter(at.astimezone(zone).date() for at in moments if at >= month.period.start)
    assert {piece.start.astimezone(zone).date(): piece.sums.requests for piece in month.slices} == {
        date(2026, 3, day): by_day[date(2026, 3, day)] for day in range(1, 31)
    }
    # The day on which Berlin changes its clock.
    day = report(project, zone=zone, now=datetime(2026, 3, 29, 12, tzinfo=UTC))
    starts = [piece.start for piece in day.slices if piece.start < day.period.end]
    by_hour = Counter(
        max(start for start in starts if start <= at) for at in moments if day.period.start <= at < day.period.end
    )
    assert {piece.start: piece.sums.requests for piece in day.slices if piece.sums.requests} == by_hour

"""What `/v1/organization` tells of usage: OpenAI's buckets, of what the owner of a key sees."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Membership, Organization, Project, User
from accounts.projects.services import archive_project, set_place
from accounts.roles import ProjectRole, Role
from common.errors import InvalidRequestError, InvalidValueError, MissingParameterError, NoSuchOrganizationError
from tests.conftest import person
from tests.usage.ledger import a_key, add_call, add_usage
from usage.organization import buckets
from usage.organization.asked import ask
from usage.organization.routes import ROUTES
from usage.reports import Group, Window, usage_report
from usage.sight import sights

pytestmark = pytest.mark.django_db

DAY = datetime(2026, 3, 18, tzinfo=UTC)
NOON = DAY + timedelta(hours=12)

Page = dict[str, Any]


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def get(path: str, user: User, *, organization: str = "", **given: Any) -> Page:
    """The answer to one question, asked as OpenAI's SDK asks it."""
    query = [
        (f"{name}[]" if isinstance(value, list) else name, str(one))
        for name, value in given.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    return ROUTES[path](ask(user, organization_id=organization, query=query, ids={}))


def completions(user: User, *, start: datetime = DAY, **given: Any) -> Page:
    return get("usage/completions", user, start_time=seconds(start), **given)


def results(page: Page) -> list[dict[str, Any]]:
    return [result for bucket in page["data"] for result in bucket["results"]]


def requests_in(page: Page) -> list[int]:
    return [sum(result["num_model_requests"] for result in bucket["results"]) for bucket in page["data"]]


def test_it_works(ada: User, project: Project, django_assert_num_queries: Any) -> None:
    add_usage(project, NOON, requests=3, prompt_tokens=30, cached_tokens=10, completion_tokens=12)
    add_usage(project, NOON + timedelta(hours=1), key=a_key(project), requests=1, prompt_tokens=5)
    add_usage(project, NOON, endpoint="embeddings", requests=8)
    # Where one belongs to, the projects there, one's rights in them (2), the sums.
    with django_assert_num_queries(5):
        page = completions(ada, end_time=seconds(DAY + timedelta(days=2)))
    assert page == {
        "object": "page",
        "data": [
            {
                "object": "bucket",
                "start_time": seconds(DAY),
                "end_time": seconds(DAY) + 86_400,
                "results": [
                    {
                        "object": "organization.usage.completions.result",
                        "input_tokens": 35,
                        "input_cached_tokens": 10,
                        "input_uncached_tokens": 25,
                        "output_tokens": 12,
                        "input_audio_tokens": 0,
                        "output_audio_tokens": 0,
                        "num_model_requests": 4,
                        "project_id": None,
                        "user_id": None,
                        "api_key_id": None,
                        "model": None,
                        "batch": None,
                        "service_tier": None,
                    }
                ],
            },
            {
                "object": "bucket",
                "start_time": seconds(DAY) + 86_400,
                "end_time": seconds(DAY) + 2 * 86_400,
                "results": [],
            },
        ],
        "has_more": False,
        "next_page": None,
    }


def test_embeddings_are_told_apart(ada: User, project: Project) -> None:
    add_usage(project, NOON, requests=3, prompt_tokens=30)
    add_usage(project, NOON, endpoint="embeddings", model="vectors", requests=8, prompt_tokens=80)
    page = get("usage/embeddings", ada, start_time=seconds(DAY), limit=1, group_by=["model"])
    assert results(page) == [
        {
            "object": "organization.usage.embeddings.result",
            "input_tokens": 80,
            "num_model_requests": 8,
            "project_id": None,
            "user_id": None,
            "api_key_id": None,
            "model": "vectors",
        }
    ]


@pytest.mark.parametrize(
    ("kind", "endpoints", "figures"),
    [
        ("moderations", ["moderations"], {"input_tokens": 30}),
        ("images", ["images/generations", "images/edits"], {"images": 0}),
        ("audio_speeches", ["audio/speech"], {"characters": 0}),
        ("audio_transcriptions", ["audio/transcriptions", "audio/translations"], {"seconds": 0}),
    ],
)
def test_other_uses_have_reports_of_their_own(
    ada: User, project: Project, kind: str, endpoints: list[str], figures: dict[str, int]
) -> None:
    for endpoint in ("chat/completions", "embeddings", "rerank", "moderations", "images/generations", "audio/speech"):
        if endpoint not in endpoints:
            add_usage(project, NOON, endpoint=endpoint, requests=1, prompt_tokens=1)
    for endpoint in endpoints:
        add_usage(project, NOON, endpoint=endpoint, model="its", requests=6 // len(endpoints), prompt_tokens=30)
    page = get(f"usage/{kind}", ada, start_time=seconds(DAY), limit=1, group_by=["model"], models=["its"])
    named = {"project_id": None, "user_id": None, "api_key_id": None, "model": "its"}
    whole = {"object": f"organization.usage.{kind}.result", **figures, "num_model_requests": 6}
    assert results(page) == [{**whole, **named}]


def test_costs_are_of_everything_in_dollars(ada: User, project: Project) -> None:
    add_usage(project, NOON, requests=3, prompt_tokens=30, completion_tokens=12, cost_nano=1_500_000_001)
    add_usage(project, NOON, endpoint="embeddings", model="vectors", prompt_tokens=8, cost_nano=1)
    asked: dict[str, Any] = {"start_time": seconds(NOON), "end_time": seconds(NOON) + 60}
    page = get("costs", ada, **asked)
    # A day is told whole, as OpenAI does.
    assert [(bucket["start_time"], bucket["end_time"]) for bucket in page["data"]] == [
        (seconds(DAY), seconds(DAY) + 86_400)
    ]
    nothing = {"project_id": None, "line_item": None, "api_key_id": None, "quantity": None, "quantity_unit": None}
    assert results(page) == [
        {
            "object": "organization.costs.result",
            "amount": {"value": 1.500000002, "currency": "usd"},
            **nothing,
        }
    ]
    items = results(get("costs", ada, group_by=["line_item", "project_id"], **asked))
    assert [(one["line_item"], one["amount"]["value"], one["quantity"], one["quantity_unit"]) for one in items] == [
        ("small", 1.500000001, 42, "tokens"),
        ("vectors", 1e-09, 8, "tokens"),
    ]
    assert {one["project_id"] for one in items} == {project.public_id}


def test_sums_are_those_of_the_usage_page(ada: User, project: Project) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    now = timezone.now()
    for place, days, model in ((project, 0, "small"), (project, 3, "large"), (second, 6, "small"), (second, 9, "old")):
        for endpoint in ("chat/completions", "embeddings"):
            add_usage(
                place, now - timedelta(days=days), model=model, endpoint=endpoint, requests=days + 2, errors=1,
                prompt_tokens=10, completion_tokens=0 if endpoint == "embeddings" else days, cost_nano=7,
            )  # fmt: skip
    report = usage_report(
        sights=sights(ada, [project, second]), window=Window.WEEK, group=Group.MODEL, zone=UTC, now=now
    )
    start = seconds(report.period.start)
    chats = results(get("usage/completions", ada, start_time=start, group_by=["model"]))
    vectors = results(get("usage/embeddings", ada, start_time=start, group_by=["model"]))
    costs = results(get("costs", ada, start_time=start))
    for row in report.rows:
        mine = [one for one in chats + vectors if one["model"] == row.id]
        assert sum(one["num_model_requests"] for one in mine) == row.sums.requests
        assert sum(one["input_tokens"] for one in mine) == row.sums.prompt_tokens
        assert sum(one.get("output_tokens", 0) for one in mine) == row.sums.completion_tokens
    assert {one["model"] for one in chats} == {row.id for row in report.rows} == {"small", "large"}
    assert round(sum(one["amount"]["value"] for one in costs) * 1e9) == report.totals.cost_nano


def test_calls_that_were_refused_or_left_are_requests(ada: User, project: Project) -> None:
    for status in (200, 429, 499):
        add_call(project, NOON, status=status)
    assert requests_in(completions(ada, start=NOON, bucket_width="1m", limit=1)) == [3]


# Time


def test_the_running_bucket_is_there(ada: User, project: Project) -> None:
    now = timezone.now()
    add_usage(project, now)
    add_call(project, now)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    hour, minute = now.replace(minute=0, second=0, microsecond=0), now.replace(second=0, microsecond=0)
    for width, start in (("1d", today), ("1h", hour), ("1m", minute)):
        page = completions(ada, start=start, bucket_width=width)
        assert sum(requests_in(page)) == 1, width
        assert page["data"][0]["start_time"] == seconds(start)
        assert seconds(now) < page["data"][-1]["end_time"] <= seconds(timezone.now()) + 1
        assert not page["has_more"]


def test_what_has_not_begun_is_not_told(ada: User, project: Project) -> None:
    tomorrow = seconds(timezone.now()) + 90_000
    assert completions(ada, start=timezone.now() + timedelta(days=1))["data"] == []
    page = completions(ada, start=timezone.now() - timedelta(minutes=1), end_time=tomorrow)
    assert page["data"][-1]["end_time"] <= seconds(timezone.now()) + 1


def test_days_are_those_of_utc(ada: User, project: Project) -> None:
    add_usage(project, DAY - timedelta(minutes=15), requests=1)
    add_usage(project, DAY, requests=2)
    add_usage(project, DAY + timedelta(hours=23, minutes=45), requests=4)
    page = completions(ada, start=DAY - timedelta(days=1), limit=3)
    assert requests_in(page) == [1, 6, 0]


def test_buckets_are_cut_where_the_time_asked_for_begins_and_ends(ada: User, project: Project) -> None:
    """To the second, though the sums are of quarters of an hour: what the sums cannot tell the ledger does."""
    for minutes in (61, 63, 75, 119, 121, 134, 136):
        at = DAY + timedelta(minutes=minutes)
        add_call(project, at)
        add_usage(project, at, user_id=str(minutes))
    start, end = DAY + timedelta(minutes=62, seconds=30), DAY + timedelta(minutes=135)
    for last, expected in ((end, [3, 2]), (end - timedelta(minutes=10), [3, 1]), (end + timedelta(minutes=5), [3, 3])):
        page = completions(ada, start=start, end_time=seconds(last), bucket_width="1h")
        assert [(one["start_time"], one["end_time"]) for one in page["data"]] == [
            (seconds(start), seconds(DAY) + 2 * 3600),
            (seconds(DAY) + 2 * 3600, seconds(last)),
        ]
        assert requests_in(page) == expected
    within = completions(ada, start=start, end_time=seconds(start) + 60, bucket_width="1h")
    assert requests_in(within) == [1]


def test_minutes_come_from_the_ledger(ada: User, project: Project) -> None:
    for offset in (0, 59, 60, 180):
        add_call(project, NOON + timedelta(seconds=offset), prompt_tokens=5, cached_tokens=2)
    page = completions(ada, start=NOON, bucket_width="1m", limit=4)
    assert requests_in(page) == [2, 1, 0, 1]
    assert page["data"][0]["results"][0]["input_cached_tokens"] == 4


@pytest.mark.parametrize(("width", "usual", "most"), [("1m", 60, 1440), ("1h", 24, 168), ("1d", 7, 31)])
def test_a_page_has_openais_numbers_of_buckets(ada: User, width: str, usual: int, most: int) -> None:
    assert len(completions(ada, start=NOON, bucket_width=width)["data"]) == usual
    start = DAY - timedelta(days=60)
    assert len(completions(ada, start=start, bucket_width=width, limit=most)["data"]) == most
    for limit in (0, most + 1, "many"):
        with pytest.raises(InvalidValueError, match=f"from 1 to {most}"):
            completions(ada, bucket_width=width, limit=limit)


def test_costs_have_a_hundred_and_eighty_days_at_most(ada: User) -> None:
    start = seconds(DAY - timedelta(days=200))
    assert len(get("costs", ada, start_time=start)["data"]) == 7
    assert len(get("costs", ada, start_time=start, limit=180)["data"]) == 180
    for wrong in ({"limit": 181}, {"bucket_width": "1h"}):
        with pytest.raises(InvalidValueError):
            get("costs", ada, start_time=start, **wrong)


def test_pages_follow_each_other_without_a_gap(ada: User, project: Project) -> None:
    for hour in range(50):
        add_usage(project, DAY + timedelta(hours=hour), requests=hour)
    asked: dict[str, Any] = {
        "start": DAY + timedelta(minutes=15),
        "end_time": seconds(DAY) + 50 * 3600,
        "bucket_width": "1h",
    }
    pages = [completions(ada, limit=20, **asked)]
    while pages[-1]["has_more"]:
        pages.append(completions(ada, limit=20, page=pages[-1]["next_page"], **asked))
    assert [len(page["data"]) for page in pages] == [20, 20, 10]
    found = [bucket for page in pages for bucket in page["data"]]
    assert all(one["end_time"] == next_["start_time"] for one, next_ in pairwise(found))
    assert [one for page in pages for one in requests_in(page)] == [0, *range(1, 50)]
    assert pages[-1]["next_page"] is None


def test_a_page_ends_early_rather_than_hold_too_much(
    ada: User, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "MOST_ROWS", 5)
    for day in range(4):
        for number in range(day + 1):
            add_usage(project, NOON + timedelta(days=day), model=f"model-{number}")
    asked: dict[str, Any] = {"end_time": seconds(DAY) + 4 * 86_400, "group_by": ["model"]}
    page = completions(ada, **asked)
    assert (requests_in(page), page["has_more"]) == ([1, 2], True)
    rest = completions(ada, page=page["next_page"], **asked)
    assert requests_in(rest) == [3]
    assert requests_in(completions(ada, page=rest["next_page"], **asked)) == [4]
    monkeypatch.setattr(buckets, "MOST_ROWS", 3)
    with pytest.raises(InvalidRequestError, match="Group by less"):
        completions(ada, start=DAY + timedelta(days=3), group_by=["model"])


# Groups and filters


def test_each_group_has_a_result(ada: User, ben: User, project: Project) -> None:
    laptop, bens = a_key(project, created_by=ada), a_key(project, name="Ben's", created_by=ben)
    add_usage(project, NOON, key=laptop, user_id="-", requests=1)
    add_usage(project, NOON, key=bens, user_id="-", model="large", requests=2)
    add_usage(project, NOON, user_id=ben.public_id, requests=4)
    add_usage(project, NOON, key=bens, user_id="-", requests=3, source="batch")
    forget_whose_calls_they_were()
    by = ["project_id", "user_id", "api_key_id", "model", "batch", "service_tier"]
    found = results(completions(ada, limit=1, group_by=by))
    assert [tuple(one[name] for name in ("num_model_requests", *by)) for one in found] == [
        (4, project.public_id, ben.public_id, None, "small", False, "default"),
        (3, project.public_id, ben.public_id, bens.public_id, "small", True, "default"),
        (2, project.public_id, ben.public_id, bens.public_id, "large", False, "default"),
        (1, project.public_id, ada.public_id, laptop.public_id, "small", False, "default"),
    ]
    by_person = results(completions(ada, limit=1, group_by=["user_id"]))
    assert [(one["user_id"], one["num_model_requests"]) for one in by_person] == [
        (ben.public_id, 9),
        (ada.public_id, 1),
    ]


def forget_whose_calls_they_were() -> None:
    """Calls with a key do not name a person."""
    from usage.models import UsageRollup5Min, UsageRollup15Min

    for rollup in (UsageRollup5Min, UsageRollup15Min):
        rollup.objects.exclude(key_id="").update(user_id="")


def test_each_filter_narrows(ada: User, ben: User, project: Project) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    laptop, bens = a_key(project, created_by=ada), a_key(project, created_by=ben)
    add_usage(project, NOON, key=laptop, user_id="-", requests=1)
    add_usage(project, NOON, key=bens, user_id="-", model="large", requests=2)
    add_usage(second, NOON, user_id=ben.public_id, requests=4)
    add_usage(second, NOON, model="nightly", requests=8, source="batch")
    forget_whose_calls_they_were()

    def narrowed(**given: Any) -> int:
        return sum(requests_in(completions(ada, limit=1, **given)))

    assert narrowed() == 15
    assert narrowed(project_ids=[project.public_id]) == 3
    assert narrowed(project_ids=[project.public_id, second.public_id]) == 15
    assert narrowed(project_ids=["proj_unknown"]) == 0
    assert narrowed(user_ids=[ben.public_id]) == 6
    assert narrowed(api_key_ids=[laptop.public_id]) == 1
    assert narrowed(models=["large", "small"], user_ids=[ada.public_id]) == 1
    assert narrowed(models=["large"]) == 2
    assert narrowed(batch="false") == 7
    assert narrowed(batch="true") == 8


def test_lists_come_in_curls_way_as_well(ada: User, project: Project) -> None:
    add_usage(project, NOON, requests=2)
    add_usage(project, NOON, model="large", requests=1)
    add_usage(project, NOON, model="other", requests=1)
    query = [("start_time", str(seconds(DAY))), ("models", "small"), ("models", "large"), ("group_by", "model")]
    page = ROUTES["usage/completions"](ask(ada, organization_id="", query=query, ids={}))
    assert [one["model"] for one in results(page)] == ["small", "large"]
    # Who writes several into one is told that each has its own.
    with pytest.raises(InvalidValueError, match="and a parameter for each"):
        completions(ada, group_by="model,project_id")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"end_time": seconds(DAY)}, "end_time"),
        ({"end_time": "now"}, "end_time"),
        ({"end_time": "9" * 30}, "end_time"),
        ({"bucket_width": "1w"}, "bucket_width"),
        ({"bucket_width": ["1d", "1h"]}, "bucket_width"),
        ({"group_by": ["line_item"]}, "group_by"),
        ({"batch": "maybe"}, "batch"),
        ({"page": "page_xyz"}, "page"),
        ({"page": f"page_{seconds(DAY) - 1:x}"}, "page"),
        ({"page": f"page_{2**60:x}"}, "page"),
        ({"models": ["a\0b"]}, "models"),
        ({"project_id": "proj_1"}, "project_id"),
        ({"group_by[0]": "model"}, "group_by[0]"),
    ],
)
def test_what_cannot_be_asked_is_named(ada: User, given: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        completions(ada, **given)
    assert (refusal.value.param or "").removesuffix("[]") == param


def test_without_a_beginning_there_is_no_answer(ada: User) -> None:
    with pytest.raises(MissingParameterError):
        get("usage/completions", ada)
    with pytest.raises(InvalidValueError):
        get("usage/completions", ada, start_time=-5)
    assert len(get("usage/completions", ada, start_time=0)["data"]) == 7


# Who sees what


@pytest.fixture
def mixed(ada: User, ben: User, project: Project) -> Callable[[User], int]:
    """Requests that somebody sees of a project where Ada made one and others made four."""
    add_usage(project, NOON, key=a_key(project, created_by=ada), requests=1)
    add_usage(project, NOON, requests=4)
    add_call(project, NOON)

    def seen(user: User) -> int:
        return sum(requests_in(completions(user, limit=1)))

    return seen


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN, Role.MEMBER, Role.VIEWER, Role.BILLING])
def test_who_sees_usage_sees_all_of_it(project: Project, mixed: Callable[[User], int], role: Role) -> None:
    user = person("Eve")
    Membership.objects.create(organization=project.organization, user=user, role=role)
    assert mixed(user) == 5
    costs = results(get("costs", user, start_time=seconds(DAY), limit=1, group_by=["project_id"]))
    assert [one["project_id"] for one in costs] == [project.public_id]


def test_a_participant_sees_their_own(ada: User, project: Project, mixed: Callable[[User], int]) -> None:
    user = person("Pia")
    guest = Membership.objects.create(organization=project.organization, user=user, role=Role.GUEST)
    assert mixed(user) == 0
    set_place(project=project, membership=guest, role=ProjectRole.PARTICIPANT, by=ada)
    assert mixed(user) == 0
    add_usage(project, NOON, key=a_key(project, created_by=user), requests=2, model="pias")
    add_usage(project, NOON, user_id=user.public_id, requests=3, model="pias")
    assert mixed(user) == 5
    assert {one["model"] for one in results(completions(user, limit=1, group_by=["model"]))} == {"pias"}
    assert sum(requests_in(completions(user, limit=1, user_ids=[ada.public_id]))) == 0
    # Minutes, which the ledger tells, and the uneven ends of hours are no way around it.
    add_call(project, NOON, user_id=user.public_id)
    for width in ("1m", "1h"):
        page = completions(user, start=NOON - timedelta(seconds=30), end_time=seconds(NOON) + 30, bucket_width=width)
        assert sum(requests_in(page)) == 1


def test_strangers_and_staff_see_nothing(cyd: User, sam: User, project: Project, mixed: Callable[[User], int]) -> None:
    for user in (cyd, sam):
        assert mixed(user) == 0
        assert sum(requests_in(completions(user, limit=1, project_ids=[project.public_id]))) == 0
        with pytest.raises(NoSuchOrganizationError):
            completions(user, organization=project.organization.public_id)


def test_a_header_names_one_organization(ada: User, ben: User, project: Project) -> None:
    own = Project.objects.for_member(ben).exclude(pk=project.pk)[0]
    add_usage(project, NOON, requests=1)
    add_usage(own, NOON, requests=2)
    assert sum(requests_in(completions(ben, limit=1))) == 3
    for place, requests in ((project, 1), (own, 2)):
        organization = place.organization.public_id
        assert sum(requests_in(completions(ben, limit=1, organization=organization))) == requests
    with pytest.raises(NoSuchOrganizationError):
        completions(ben, organization=Organization(name="None").public_id)


def test_what_an_archived_project_used_stays(ada: User, project: Project) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    add_usage(second, NOON, requests=2)
    archive_project(project=second, by=ada)
    assert sum(requests_in(completions(ada, limit=1))) == 2

"""The usage page: who sees what, how it renews itself, and the file it hands out."""

import csv
import io
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Project, ProjectMembership, User
from accounts.roles import ProjectRole, Role
from common.spreadsheets import MARK
from tests.usage.ledger import a_key, add_call, add_usage

pytestmark = pytest.mark.django_db

OVERVIEW, LIVE, EXPORT = reverse("usage:overview"), reverse("usage:live"), reverse("usage:export")


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def key(project: Project, now: datetime) -> Any:
    """Ada's key, with one call of it in the ledger and the sums."""
    key = a_key(project, name="Laptop")
    add_usage(project, now, key=key, prompt_tokens=1234, completion_tokens=56, cost_nano=7000, latency_ms_sum=810)
    add_call(project, now, key=key, prompt_tokens=1234, completion_tokens=56, request_id="req_first")
    return key


def page(client: Client, address: str = OVERVIEW, **query: str) -> str:
    return client.get(address, query).content.decode()


def test_it_works(ada_client: Client, key: Any, django_assert_num_queries: Any) -> None:
    # Session, user, standing; the project, its siblings, one's rights (2); newest change; this period, the one before;
    # the hours of the week, what the month costs; one's right to see the organization's limits, one's own as a member;
    # the last calls, the names of their keys; the cohort that binds one; of the frame: the projects to switch between,
    # unread notifications.
    with django_assert_num_queries(19):
        body = page(ada_client)
    assert "1,290" in body  # tokens
    assert "&lt;$0.0001" in body
    assert "Laptop" in body
    assert "req_first" in body


def test_a_visitor_is_asked_to_sign_in(client: Client) -> None:
    for address in (OVERVIEW, LIVE, EXPORT):
        assert client.get(address).status_code == 302


def test_a_stranger_sees_nothing_of_it(cyd_client: Client, key: Any) -> None:
    body = page(cyd_client)
    assert "No call has been made yet" in body
    assert "req_first" not in body


def test_a_new_project_is_led_to_its_first_call(ada_client: Client, project: Project) -> None:
    assert "No call has been made yet" in page(ada_client)
    assert "No call has been made yet" in page(ada_client, LIVE)


def test_an_empty_period_is_not_taken_for_a_new_project(ada_client: Client, project: Project, now: datetime) -> None:
    add_usage(project, now - timedelta(days=20))
    body = page(ada_client, window="today")
    assert "No call has been made yet" not in body
    assert "Nothing was called in this period" in body
    assert 'data-behavior="chart"' not in body


def test_what_is_not_understood_is_as_if_not_there(ada_client: Client, key: Any) -> None:
    assert (
        ada_client.get(
            OVERVIEW, {"window": "century", "group": "mood", "model": "no such", "status": "4294967296"}
        ).status_code
        == 200
    )


def test_the_page_renews_itself_only_when_something_changed(ada_client: Client, key: Any, now: datetime) -> None:
    first = ada_client.get(LIVE)
    seen = first.context["version"]
    assert ada_client.get(LIVE, {"seen": seen}).status_code == 204
    add_usage(key.project, now, key=key, model="large")
    again = ada_client.get(LIVE, {"seen": seen})
    assert again.status_code == 200
    assert again.context["version"] != seen
    assert "large" in again.content.decode()


def test_asking_for_news_is_cheap(ada_client: Client, key: Any, django_assert_num_queries: Any) -> None:
    seen = ada_client.get(LIVE).context["version"]
    with django_assert_num_queries(7):  # session, user, standing, current project, rights (2), newest change
        ada_client.get(LIVE, {"seen": seen})


def test_days_are_those_of_the_cookie(ada_client: Client, key: Any) -> None:
    ada_client.cookies["tz"] = "Asia/Kathmandu"
    assert 'data-zone="Asia/Kathmandu"' in page(ada_client)
    for nonsense in ("Mars/Phobos", "../../etc/passwd", "America", ""):
        ada_client.cookies["tz"] = nonsense
        assert 'data-zone="UTC"' in page(ada_client)


def test_a_row_leads_to_what_is_behind_it(ada_client: Client, key: Any, project: Project, now: datetime) -> None:
    add_usage(project, now, model="large")
    add_call(project, now, model="large", request_id="req_large")
    narrowed = ada_client.get(OVERVIEW, {"model": "large", "group": "key"})
    assert [row.id for row, _color, _href in narrowed.context["rows"]] == ["playground"]
    body = narrowed.content.decode()
    assert "req_large" in body
    assert "req_first" not in body
    by_key = ada_client.get(OVERVIEW, {"key": key.public_id})
    assert [row.id for row, _color, _href in by_key.context["rows"]] == ["small"]
    by_playground = ada_client.get(OVERVIEW, {"key": "playground"})
    assert [row.id for row, _color, _href in by_playground.context["rows"]] == ["large"]


def test_everything_narrows_everything(ada: User, ada_client: Client, key: Any, now: datetime) -> None:
    asked = {"member": ada.public_id, "endpoint": "chat/completions", "model": "small", "window": "90d"}
    asked |= {"status": "failed", "code": "server_error"}
    answer = ada_client.get(OVERVIEW, {**asked, "group": "member"})
    assert answer.status_code == 200
    filters = [(str(kind), name.label) for kind, name, _href in answer.context["filters"]]
    assert [kind for kind, _label in filters] == ["Model", "Member", "Endpoint", "Status", "Error code"]
    assert [label for _kind, label in filters[3:]] == ["Failed", "server_error"]
    # Each undoes itself alone, and leaves the group.
    assert {href.count("=") for _kind, _name, href in answer.context["filters"]} == {len(asked)}
    for part in ("member=", "endpoint=", "outcome=failed", "code=server_error"):
        assert part in answer.context["log_url"]
    by_endpoint = ada_client.get(OVERVIEW, {"group": "endpoint", "key": key.public_id})
    assert [row.name.label for row, _color, _href in by_endpoint.context["rows"]] == ["/v1/chat/completions"]


def test_how_calls_ended_is_a_group_and_a_filter(ada_client: Client, key: Any, now: datetime) -> None:
    add_usage(key.project, now, status=429, error_code="project_daily_budget")
    add_call(key.project, now, status=429, error_code="project_daily_budget", request_id="req_refused")
    by_status = ada_client.get(OVERVIEW, {"group": "status"})
    assert {row.id: href for row, _color, href in by_status.context["rows"]} == {
        "200": "?window=30d&group=model&status=200",
        "429": "?window=30d&group=model&status=429",
    }
    for narrowed in (
        {"status": "429"},
        {"status": "failed"},
        {"code": "project_daily_budget"},
        {"code": "insufficient_quota"},
    ):
        body = page(ada_client, **narrowed)
        assert "req_refused" in body
        assert "req_first" not in body
        assert "1,290" not in body  # the tokens of the other
    # The page leads to what failed, and to what failed with one code.
    body = page(ada_client, group="key")
    assert "?window=30d&amp;group=key&amp;status=failed" in body
    assert "?window=30d&amp;group=key&amp;code=project_daily_budget" in body


def test_failures_are_told_in_words(ada_client: Client, project: Project, now: datetime) -> None:
    add_usage(project, now, errors=1)
    add_call(project, now, status=429, error_code="insufficient_quota")
    add_call(project, now, status=418, error_code="teapot")
    body = page(ada_client)
    assert "The budget is used up, or does not cover the call." in body
    assert "The call failed." in body


def test_a_team_mate_sees_all_projects_of_the_organization(
    ada_client: Client, ben: User, project: Project, now: datetime
) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    add_usage(project, now, model="small")
    add_usage(second, now, model="large")
    add_call(second, now, model="large", request_id="req_second")
    alone = page(ada_client)
    assert "req_second" not in alone
    both = ada_client.get(OVERVIEW, {"scope": "organization"})
    assert {row.id for row, _color, _href in both.context["rows"]} == {"small", "large"}
    assert "req_second" in both.content.decode()


def test_who_does_not_see_everybody_s_usage_sees_their_own(
    ada: User, ben: User, ben_client: Client, project: Project, now: datetime
) -> None:
    membership = project.organization.memberships.get(user=ben)
    membership.role = Role.GUEST
    membership.save()
    ProjectMembership.objects.create(project=project, membership=membership, role=ProjectRole.PARTICIPANT)
    ben_client.post(f"/projects/{project.public_id}/choose/")
    for number, person in enumerate((ada, ben)):
        key = a_key(project, name=person.name, created_by=person)
        add_usage(project, now, model=f"of-{person.name}", key=key)
        add_call(project, now, model=f"of-{person.name}", key=key, request_id=f"req_{number}")
    add_usage(project, now, model="of-a-run", user_id=ben.public_id)

    shown = ben_client.get(OVERVIEW)

    assert {row.id for row, _color, _href in shown.context["rows"]} == {"of-Ben", "of-a-run"}
    assert "req_1" in shown.content.decode()
    assert "of-Ada" not in shown.content.decode()
    assert "You see your own calls" in shown.content.decode()
    assert "of-Ada" not in ben_client.get("/usage/export.csv").content.decode()
    assert "of-Ada" not in ben_client.get("/usage/live/").content.decode()
    named = {"project": project.public_id}
    assert [call["model"] for call in ben_client.get("/api/usage/calls/", named).json()["data"]] == ["of-Ben"]
    groups = ben_client.get("/api/usage/summary/", named).json()["groups"]
    assert {group["id"] for group in groups} == {"of-Ben", "of-a-run"}


def test_hostile_names_stay_text(ada_client: Client, project: Project, now: datetime) -> None:
    name = "</script><script>alert(1)</script>"
    add_usage(project, now, model=name)
    add_call(project, now, model=name)
    body = page(ada_client)
    assert "<script>alert" not in body


def test_an_error_code_leads_to_its_docs_and_its_calls(ada_client: Client, project: Project, now: datetime) -> None:
    add_usage(project, now)
    for code in ("rate_limit_exceeded", "rate_limit_exceeded", ""):
        add_usage(project, now, status=429, error_code=code, model="small")
    body = page(ada_client, model="small")
    assert "/docs/errors-and-retries/#rate_limit_exceeded" in body
    legend = body[body.index('aria-label="Colors of the error codes"') :].partition("</ul>")[0]
    assert 'title="rate_limit_exceeded"' in legend
    assert "/usage/calls/?window=30d&amp;model=small&amp;code=rate_limit_exceeded" in body
    assert "/usage/calls/?window=30d&amp;model=small&amp;outcome=429" in body
    lines = rows_of(ada_client, "failures_file", window="7d")
    assert [(line["status"], line["error_code"], line["calls"], line["of_calls"]) for line in lines] == [
        ("429", "rate_limit_exceeded", "2", "4"),
        ("429", "", "1", "4"),
    ]


def rows_of(client: Client, name: str, **query: str) -> list[dict[str, str]]:
    file = page(client, reverse(f"usage:{name}"), **query)
    assert file.startswith(MARK)
    return list(csv.DictReader(io.StringIO(file.removeprefix(MARK))))


def test_every_chart_and_table_can_be_taken_along(ada_client: Client, key: Any, project: Project) -> None:
    body = page(ada_client, window="7d")
    for name in ("export", "totals_file", "times_file", "week_file"):
        assert reverse(f"usage:{name}") + "?window=7d&amp;group=model" in body
    today = timezone.now()
    add_usage(project, today, model="=large", requests=2, status=429)

    totals = {row["model_id"]: row for row in rows_of(ada_client, "totals_file", window="7d")}
    assert {name: (row["requests"], row["errors"]) for name, row in totals.items()} == {
        "small": ("1", "0"),
        "'=large": ("2", "2"),
    }
    times = rows_of(ada_client, "times_file", window="7d", status="answered")
    assert [row["requests"] for row in times] == ["0"] * 6 + ["1"]
    assert int(times[-1]["p50_latency_ms"]) == pytest.approx(810, rel=0.1)
    week = rows_of(ada_client, "week_file", window="7d", status="429")
    assert len(week) == 7 * 24
    assert [row for row in week if row["requests"] != "0"] == [
        {"weekday": f"{today.isoweekday()}", "hour": f"{today.hour}", "requests": "2"}
    ]
    assert rows_of(ada_client, "week_file", window="today") == []


def test_comparing_is_part_of_the_address(ada_client: Client, key: Any, project: Project) -> None:
    off = ada_client.get(OVERVIEW, {"window": "7d"})
    assert off.context["compare_url"] == f"{OVERVIEW}?window=7d&group=model&compare=before"
    assert off.context["charts"]["requests"]["before"] is None
    assert "Compare with the 7 days before" in off.content.decode()
    assert "Nothing was used then." not in off.content.decode()

    on = ada_client.get(OVERVIEW, {"window": "7d", "compare": "before", "model": "small"})
    body = on.content.decode()
    assert on.context["compare_url"] == f"{OVERVIEW}?window=7d&group=model&model=small"
    assert on.context["charts"]["requests"]["before"]["values"] == [0] * 7
    assert "Nothing was used then." in body
    # All that leads on keeps it: the other periods and groups, what is narrowed, the files, and the page itself.
    leading = [href for _label, href, _current in (*on.context["windows"], *on.context["groups"])]
    leading += [href for _kind, _name, href in on.context["filters"]]
    leading += [on.context[name] for name in ("live_url", "times_url", "export_url", "only_failed_url")]
    leading += [href for _row, _color, href in on.context["rows"]]
    assert [href for href in leading if "compare=before" not in href] == []
    assert "compare=" not in on.context["log_url"]
    renewed = ada_client.get(on.context["live_url"])
    assert renewed.context["charts"]["cost"]["before"] is not None


def test_a_period_is_compared_though_nothing_was_used_in_it(
    ada_client: Client, project: Project, now: datetime
) -> None:
    add_usage(project, now - timedelta(days=10), requests=3, errors=1, cost_nano=5)
    assert 'data-behavior="chart"' not in page(ada_client, window="7d")
    body = page(ada_client, window="7d", compare="before")
    assert {f'id="usage-{name}"' in body for name in ("requests", "cost", "failures")} == {True}
    assert {f'id="usage-{name}"' in body for name in ("tokens", "first-token", "latency")} == {False}
    assert "Nothing was used then." not in body


def test_rows_tell_how_they_moved_where_they_are_compared(ada_client: Client, key: Any, now: datetime) -> None:
    add_usage(key.project, now - timedelta(days=10), key=key, requests=4)
    assert page(ada_client, window="7d").count("−75%") == 1  # of all requests
    assert page(ada_client, window="7d", compare="before").count("−75%") == 2


def test_the_file_over_time_has_what_it_is_compared_with(ada_client: Client, key: Any, now: datetime) -> None:
    add_usage(key.project, now - timedelta(days=7), requests=3, latency_ms_sum=900)
    alone = rows_of(ada_client, "times_file", window="7d")[-1]
    both = rows_of(ada_client, "times_file", window="7d", compare="before")[-1]
    before = {name.removeprefix("before_"): value for name, value in both.items() if name.startswith("before_")}
    assert both == {**alone, **{f"before_{name}": value for name, value in before.items()}}
    assert before.keys() == alone.keys()
    assert before["from"] == f"{now - timedelta(days=7):%Y-%m-%d}T00:00:00+00:00"
    assert (before["requests"], before["mean_latency_ms"]) == ("3", "300")


@pytest.fixture
def lines(ada_client: Client, key: Any, project: Project, now: datetime) -> list[dict[str, str]]:
    add_usage(project, now, model='=HYPERLINK("http://evil.example")', errors=1)
    return rows_of(ada_client, "export", window="7d")


def test_the_table_can_be_taken_along(lines: list[dict[str, str]], now: datetime) -> None:
    rows = {line["model_id"]: line for line in lines}
    small = rows["small"]
    assert small["from"] == f"{now:%Y-%m-%d}T00:00:00+00:00"
    assert (small["requests"], small["input_tokens"], small["cost_usd"]) == ("1", "1234", "0.000007")
    assert small["mean_latency_ms"] == "810"
    assert small["mean_first_token_ms"] == small["p50_first_token_ms"] == ""
    assert int(small["p95_latency_ms"]) == pytest.approx(810, rel=0.1)


def test_no_cell_is_a_formula(lines: list[dict[str, str]]) -> None:
    assert all(not cell.startswith("=") for line in lines for cell in line.values())

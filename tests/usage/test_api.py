"""Usage over the REST API: the numbers of the page, under the permissions of the page."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Project
from tests.usage.ledger import a_key, add_call, add_usage

pytestmark = pytest.mark.django_db

SUMMARY, CALLS = "/api/usage/summary/", "/api/usage/calls/"


def test_it_works(ada_client: Client, project: Project, django_assert_num_queries: Any) -> None:
    key = a_key(project, name="Laptop")
    add_usage(project, timezone.now(), key=key, requests=2, prompt_tokens=10, cost_nano=7, latency_ms_sum=300)
    # Session, user, standing; the current project, one's rights (2); this period, the one before, the names of keys.
    with django_assert_num_queries(9):
        answer = ada_client.get(SUMMARY, {"window": "today", "group_by": "key", "time_zone": "Asia/Shanghai"}).json()
    assert answer["totals"] == {
        "requests": 2,
        "failed": 0,
        "input_tokens": 10,
        "output_tokens": 0,
        "cost_nano_usd": 7,
        "mean_latency_ms": 150.0,
        "mean_first_token_ms": None,
        "latency_ms": dict.fromkeys(("p50", "p95", "p99"), pytest.approx(150, rel=0.1)),
        "first_token_ms": None,
    }
    assert (answer["time_zone"], answer["window"], answer["group_by"]) == ("Asia/Shanghai", "today", "key")
    group = answer["groups"][0]
    assert (group["id"], group["name"], group["state"]) == (key.public_id, "Laptop", "current")
    assert sum(piece["sums"]["requests"] for piece in answer["slices"]) == 2
    assert [list(piece["groups"]) for piece in answer["slices"] if piece["groups"]] == [[key.public_id]]


def test_who_is_not_signed_in_is_refused_as_a_problem(client: Client) -> None:
    for address in (SUMMARY, CALLS, "/api/keys/"):
        refusal = client.get(address)
        assert refusal.status_code == 401
        assert refusal["Content-Type"] == "application/problem+json"
        assert refusal.json()["code"] == "not_authenticated"


def test_a_stranger_gets_their_own_nothing(cyd_client: Client, project: Project) -> None:
    add_usage(project, timezone.now())
    add_call(project, timezone.now())
    assert cyd_client.get(SUMMARY).json()["totals"]["requests"] == 0
    assert cyd_client.get(CALLS).json()["data"] == []


def test_a_project_may_be_named(ada_client: Client, project: Project, cyd_client: Client) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    add_usage(second, timezone.now())
    call = add_call(second, timezone.now())
    asked = {"project": second.public_id}
    assert ada_client.get(SUMMARY, asked).json()["totals"]["requests"] == 1
    assert ada_client.get(CALLS, asked).json()["data"][0]["request_id"] == call.request_id
    for address in (SUMMARY, CALLS, "/api/keys/"):
        assert cyd_client.get(address, asked).status_code == 404
        assert cyd_client.get(address, {"project": "proj_unknown"}).status_code == 404


def test_how_calls_ended_can_be_asked(ada_client: Client, project: Project) -> None:
    add_usage(project, timezone.now(), requests=3)
    for code in ("rate_limit_exceeded", "insufficient_quota"):
        add_usage(project, timezone.now(), status=429, error_code=code)
    by_status = ada_client.get(SUMMARY, {"group_by": "status"}).json()["groups"]
    assert [(group["id"], group["name"], group["sums"]["requests"]) for group in by_status] == [
        ("200", "200 OK", 3),
        ("429", "429 Too Many Requests", 2),
    ]
    for asked, count in (({"status": "4xx"}, 2), ({"status": "429", "code": "insufficient_quota"}, 1)):
        assert ada_client.get(SUMMARY, asked).json()["totals"]["requests"] == count
    assert ada_client.get(SUMMARY, {"status": "mood"}).status_code == 400


def test_what_cannot_be_asked_is_named(ada_client: Client) -> None:
    refusal = ada_client.get(SUMMARY, {"window": "century", "time_zone": "Mars/Phobos"})
    assert refusal.status_code == 400
    assert {error["field"] for error in refusal.json()["errors"]} == {"window", "time_zone"}
    assert ada_client.get(SUMMARY, {"model": "a\0b"}).status_code == 400


def test_calls_come_page_by_page(ada_client: Client, project: Project) -> None:
    now = timezone.now()
    made = [add_call(project, now - timedelta(seconds=i // 2)).request_id for i in range(5)]
    seen: list[str] = []
    address: str | None = f"{CALLS}?limit=2"
    while address:
        answer = ada_client.get(address).json()
        seen += [call["request_id"] for call in answer["data"]]
        address = answer["next"]
    assert sorted(seen) == sorted(made)
    back = ada_client.get(answer["previous"]).json()
    assert [call["request_id"] for call in back["data"]] == seen[2:4]


@pytest.mark.parametrize("limit", ["0", "101", "many"])
def test_a_page_has_one_to_a_hundred_rows(ada_client: Client, limit: str) -> None:
    assert ada_client.get(CALLS, {"limit": limit}).json()["errors"][0]["field"] == "limit"


def test_a_forged_cursor_is_the_first_page(ada_client: Client, project: Project) -> None:
    call = add_call(project, timezone.now(), status=502)
    answer = ada_client.get(CALLS, {"cursor": "forged"}).json()
    assert [row["request_id"] for row in answer["data"]] == [call.request_id]
    assert answer["data"][0]["problem"] == "The model’s server failed to answer. Try again."


def test_calls_are_narrowed_as_on_the_page(ada_client: Client, project: Project) -> None:
    now, key = timezone.now(), a_key(project, name="Laptop")
    wanted = add_call(
        project, now - timedelta(hours=2), key=key, model="large", status=429, error_code="rate_limit_exceeded"
    )
    nameless = add_call(project, now - timedelta(days=40), model="", endpoint="embeddings", status=404)
    for asked, found in (
        ({"key": key.public_id}, [wanted]),
        ({"key": "laptop"}, [wanted]),
        ({"outcome": "failed"}, [wanted, nameless]),
        ({"code": "rate_limit_exceeded", "source": "key", "model": "large"}, [wanted]),
        ({"model": ""}, [nameless]),
        ({"endpoint": "embeddings"}, [nameless]),
        ({"since": (now - timedelta(days=1)).isoformat()}, [wanted]),
        ({"until": (now - timedelta(days=1)).isoformat()}, [nameless]),
        ({"outcome": "answered"}, []),
    ):
        rows = ada_client.get(CALLS, asked).json()["data"]
        assert [row["request_id"] for row in rows] == [call.request_id for call in found], asked


@pytest.mark.parametrize("asked", [{"outcome": "mood"}, {"since": "soon"}, {"source": "x"}, {"endpoint": "chat"}])
def test_a_filter_that_cannot_be_is_named(ada_client: Client, asked: dict[str, str]) -> None:
    refusal = ada_client.get(CALLS, asked)
    assert refusal.status_code == 400
    assert [error["field"] for error in refusal.json()["errors"]] == list(asked)


def test_a_request_id_is_looked_up(
    ada_client: Client, cyd_client: Client, project: Project, django_assert_num_queries: Any
) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    call = add_call(second, timezone.now(), status=502)
    address = f"{CALLS}{call.request_id}/"
    with django_assert_num_queries(7):  # session, user, standing; the project, one's rights there (2); the call
        answer = ada_client.get(address).json()
    assert answer["project_id"] == second.public_id
    assert answer["problem"] == "The model’s server failed to answer. Try again."
    assert cyd_client.get(address).status_code == ada_client.get(f"{CALLS}req_unknown/").status_code == 404

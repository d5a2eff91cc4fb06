"""The request log: a developer finds their calls, looks a request id up, and reads what became of it."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Membership, Project, ProjectMembership, ServiceAccount, User
from accounts.roles import ProjectRole, Role
from apikeys.models import KeyKind
from catalog.models import Backend, Deployment, HostedModel
from common.ids import request_id
from docs_site.tutorials import tutorial
from tests.conftest import client_of, person
from tests.docs_site.test_content import headings
from tests.usage.ledger import a_key, add_call, add_usage
from usage import log
from usage.log import Asked, calls, described
from usage.models import Source, UsageEvent
from usage.outcomes import Outcome
from usage.problems import PROBLEMS, problem_in_words, problem_of
from usage.sight import Sight

pytestmark = pytest.mark.django_db

LOG, FILE = reverse("usage:calls"), reverse("usage:calls_file")


def page_of(request_id: str) -> str:
    return reverse("usage:call", args=[request_id])


def shown(client: Client, **query: str) -> list[str]:
    """The request ids of the list that the address asks for."""
    return [call.event.request_id for call in client.get(LOG, query).context["calls"]]


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def key(project: Project) -> Any:
    return a_key(project, name="Laptop")


def a_participant(project: Project) -> tuple[User, Client]:
    """Somebody who sees their own usage alone, at work in the project."""
    guest = person("Grace")
    membership = Membership.objects.create(organization=project.organization, user=guest, role=Role.GUEST)
    ProjectMembership.objects.create(project=project, membership=membership, role=ProjectRole.PARTICIPANT)
    client = client_of(guest)
    client.post(f"/projects/{project.public_id}/choose/")
    return guest, client


def test_it_works(ada_client: Client, ada: User, project: Project, key: Any, now: datetime) -> None:
    add_call(project, now, user_id=ada.public_id, request_id="req_1", model="large")
    add_call(
        project, now - timedelta(minutes=1), key=key, request_id="req_2", status=429, error_code="rate_limit_exceeded",
        prompt_tokens=1234, cached_tokens=1000, cost_nano=5_000_000,
    )  # fmt: skip
    body = ada_client.get(LOG).content.decode()
    assert body.index("req_1") < body.index("req_2")
    for words in ("large", "Ada", "Laptop", key.hint, "1,234", "1,000 cached", "$0.005", "429", "chat/completions"):
        assert words in body
    assert "A limit on requests or tokens was reached." in body


def test_a_page_takes_the_same_number_of_queries_however_long_it_is(
    ada_client: Client, ada: User, project: Project, key: Any, now: datetime, django_assert_num_queries: Any
) -> None:
    for number in range(60):
        add_call(project, now - timedelta(minutes=number), key=a_key(project) if number % 2 else key)
        add_call(project, now - timedelta(minutes=number), user_id=ada.public_id)
    # Session, user, standing; the project, its siblings, one's rights (2); the models to choose from; the calls, the
    # names of their keys and people; of the frame: the projects to switch between, unread notifications.
    with django_assert_num_queries(13):
        assert len(shown(ada_client)) == 50
    with django_assert_num_queries(13):  # and the keys that are called so, for the people
        assert len(shown(ada_client, q="Laptop")) == 50


def test_it_goes_on_page_by_page(ada_client: Client, project: Project, now: datetime) -> None:
    made = [add_call(project, now - timedelta(minutes=number // 2)).request_id for number in range(120)]
    first = ada_client.get(LOG, {"source": "playground"})
    older = first.context["page"].older
    second = shown(ada_client, source="playground", cursor=older)
    third = shown(ada_client, cursor=ada_client.get(LOG, {"cursor": older}).context["page"].older)
    assert sorted(shown(ada_client) + second + third) == sorted(made)
    assert len(second) == 50
    assert shown(ada_client, sort="oldest")[0] in made[-2:]


def test_all_projects_are_one_list(ada_client: Client, project: Project, now: datetime) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    made = [
        add_call(second if number % 3 else project, now - timedelta(minutes=number)).request_id for number in range(70)
    ]
    assert shown(ada_client) == made[::3]
    both = ada_client.get(LOG, {"scope": "organization"})
    assert [call.event.request_id for call in both.context["calls"]] == made[:50]
    older = both.context["page"].older
    assert shown(ada_client, scope="organization", cursor=older) == made[50:]
    assert shown(ada_client, scope="organization", sort="oldest") == made[::-1][:50]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, {"ok", "refused", "broken", "left", "embedded", "batched"}),
        ({"window": "1h"}, {"ok", "refused"}),
        ({"window": ""}, {"ok", "refused", "broken", "left", "embedded", "batched", "old"}),
        ({"outcome": "answered"}, {"ok", "embedded", "batched"}),
        ({"outcome": "failed"}, {"refused", "broken"}),
        ({"outcome": "4xx"}, {"refused"}),
        ({"outcome": "5xx"}, {"broken"}),
        ({"outcome": "499"}, {"left"}),
        ({"outcome": "502"}, {"broken"}),
        ({"code": "rate_limit_exceeded"}, {"refused"}),
        ({"model": "large"}, {"broken"}),
        ({"endpoint": "embeddings"}, {"embedded"}),
        ({"source": "batch"}, {"batched"}),
        ({"q": "laptop"}, {"ok", "batched"}),
        ({"q": "lyc_test…wxyz"}, {"ok", "batched"}),
        ({"model": "large", "outcome": "answered"}, set()),
        ({"outcome": "mood", "window": "century", "endpoint": "x"},
         {"ok", "refused", "broken", "left", "embedded", "batched"}),
        ({"since": "0001-01-01T00:00", "until": "9999-12-31T23:59", "window": ""},
         {"ok", "refused", "broken", "left", "embedded", "batched", "old"}),
    ],
)  # fmt: skip
def test_the_address_narrows_it(
    ada_client: Client, project: Project, key: Any, now: datetime, query: dict[str, str], found: set[str]
) -> None:
    def call(name: str, **fields: Any) -> None:
        hours = {"ok": 0, "refused": 0, "old": 24 * 40}.get(name, 30)
        add_call(project, now - timedelta(hours=hours), request_id=name, **fields)

    call("ok", key=key)
    call("refused", status=429, error_code="rate_limit_exceeded")
    call("broken", status=502, model="large")
    call("left", status=499, error_code="client_closed")
    call("embedded", endpoint="embeddings")
    call("batched", key=key, source=Source.BATCH)
    call("old")
    assert set(shown(ada_client, **query)) == found


def test_times_are_the_reader_s(ada_client: Client, project: Project) -> None:
    add_call(project, datetime.fromisoformat("2026-03-01T06:30:00+00:00"), request_id="req_morning")
    ada_client.cookies["tz"] = "Asia/Shanghai"
    assert shown(ada_client, since="2026-03-01T14:00", until="2026-03-01T15:00") == ["req_morning"]
    assert shown(ada_client, since="2026-03-01T06:00", until="2026-03-01T07:00") == []


@pytest.mark.parametrize("around", ["{}", "  {} ", "'{}'", "“{}”", "x-request-id: {}", "(request id: {})", "a={}&b=1"])
def test_a_request_id_leads_to_its_call(ada_client: Client, project: Project, now: datetime, around: str) -> None:
    call = add_call(project, now)
    answer = ada_client.get(LOG, {"q": around.format(call.request_id), "outcome": "failed"}, follow=True)
    assert answer.redirect_chain == [(page_of(call.request_id), 302)]
    assert call.request_id in answer.content.decode()


def test_it_is_found_in_whichever_project_it_was_made(ada_client: Client, project: Project, now: datetime) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    call = add_call(second, now)
    assert shown(ada_client) == []
    assert ada_client.get(page_of(call.request_id)).context["call"].event == call


def test_a_failure_leads_to_others_like_it_in_the_log_that_has_it(
    ada_client: Client, project: Project, now: datetime
) -> None:
    second = Project.objects.create(organization=project.organization, name="Second")
    here, there = (add_call(one, now, status=429, error_code="rate_limit_exceeded") for one in (project, second))
    add_call(project, now, status=404, error_code="model_not_found")
    address = ada_client.get(page_of(here.request_id)).context["alike_url"]
    assert [call.event for call in ada_client.get(address).context["calls"]] == [here]
    assert "alike_url" not in ada_client.get(page_of(there.request_id)).context
    assert "alike_url" not in ada_client.get(page_of(add_call(project, now).request_id)).context


def test_what_no_call_has_may_mean(ada_client: Client, client: Client, project: Project) -> None:
    answer = ada_client.get(page_of(request_id()))
    assert answer.status_code == 404
    assert "A call is recorded when it ends" in answer.content.decode()
    assert client.get(page_of(request_id())).status_code == 302


def test_half_an_id_says_that_it_is_one(ada_client: Client, project: Project, now: datetime) -> None:
    add_usage(project, now)
    call = add_call(project, now)
    answer = ada_client.get(LOG, {"q": call.request_id[:-1]})
    assert answer.context["calls"] == []
    assert "A request id is looked up when it is whole" in answer.content.decode()


def test_a_new_project_is_led_to_its_first_call(ada_client: Client, project: Project, now: datetime) -> None:
    assert "No call has been made yet" in ada_client.get(LOG).content.decode()
    add_usage(project, now - timedelta(days=60))
    assert "No call fits these filters" in ada_client.get(LOG).content.decode()


def test_strangers_and_visitors_find_nothing(
    client: Client, cyd_client: Client, sam_client: Client, project: Project, now: datetime
) -> None:
    call = add_call(project, now)
    for somebody in (cyd_client, sam_client):
        assert shown(somebody, scope="organization") == []
        assert somebody.get(page_of(call.request_id)).status_code == 404
        assert somebody.get(f"/api/usage/calls/{call.request_id}/").status_code == 404
        assert call.request_id not in read(somebody)
    for address in (LOG, FILE, page_of(call.request_id)):
        assert client.get(address).status_code == 302


def test_a_participant_finds_their_own(ada: User, project: Project, now: datetime) -> None:
    grace, client = a_participant(project)
    others = add_call(project, now, user_id=ada.public_id)
    of_ada = add_call(project, now, key=a_key(project, name="Ada's", created_by=ada))
    own = add_call(project, now, user_id=grace.public_id)
    with_key = add_call(project, now, key=a_key(project, name="Mine", created_by=grace))
    for query in ({}, {"scope": "organization"}, {"window": "", "source": ""}):
        assert set(shown(client, **query)) == {own.request_id, with_key.request_id}
    for query in ({"q": "Ada"}, {"member": "Ada"}, {"member": ada.public_id}):
        assert shown(client, **query) == []
    for call, status in ((others, 404), (of_ada, 404), (own, 200), (with_key, 200)):
        assert client.get(page_of(call.request_id)).status_code == status
        assert client.get(f"/api/usage/calls/{call.request_id}/").status_code == status
    text = read(client)
    assert own.request_id in text
    assert others.request_id not in text
    body = client.get(LOG).content.decode()
    assert "You see your own calls" in body
    assert 'name="member"' not in body


def test_calls_of_a_member_are_those_of_their_keys_too(
    ada_client: Client, ada: User, ben: User, project: Project, now: datetime
) -> None:
    add_call(project, now, user_id=ada.public_id)
    run = add_call(project, now, user_id=ben.public_id)
    call = add_call(project, now, key=a_key(project, name="Desktop", created_by=ben))
    for text in (ben.public_id, "ben"):
        assert set(shown(ada_client, member=text)) == {run.request_id, call.request_id}


def test_who_may_not_know_the_people_reads_no_names(
    ada: User, ben: User, ben_client: Client, project: Project, now: datetime
) -> None:
    project.organization.memberships.filter(user=ben).update(role=Role.BILLING)
    ben_client.post(f"/projects/{project.public_id}/choose/")
    call = add_call(project, now, user_id=ada.public_id)
    assert shown(ben_client) == [call.request_id]
    assert shown(ben_client, member="Ada") == shown(ben_client, member=ada.public_id) == []
    for address in (LOG, page_of(call.request_id)):
        assert ">Ada<" not in ben_client.get(address).content.decode()
    assert ada.public_id not in read(ben_client)


def read(client: Client, **query: str) -> str:
    """The log as a file."""
    parts = cast("AsyncIterator[bytes]", cast(StreamingHttpResponse, client.get(FILE, query)).streaming_content)

    async def gather() -> bytes:
        return b"".join([part async for part in parts])

    return async_to_sync(gather)().decode("utf-8-sig")


def test_the_log_can_be_taken_along(
    ada_client: Client, project: Project, key: Any, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "CHUNK", 2)
    made = [add_call(project, now - timedelta(minutes=number), key=key).request_id for number in range(5)]
    add_call(project, now, model="=HYPERLINK(1)", cost_nano=1500, status=502, first_token_ms=7, user_id="user_x")
    rows = list(csv.DictReader(io.StringIO(read(ada_client, outcome="answered"))))
    assert [row["request_id"] for row in rows] == made
    assert (rows[0]["key"], rows[0]["key_id"], rows[0]["status"]) == ("Laptop", key.public_id, "200")
    (broken,) = csv.DictReader(io.StringIO(read(ada_client, outcome="5xx")))
    assert (broken["model"], broken["cost_usd"], broken["first_token_ms"]) == ("'=HYPERLINK(1)", "0.0000015", "7")


def test_a_file_of_the_log_says_whose_each_call_is(
    ada_client: Client, ada: User, project: Project, now: datetime
) -> None:
    account = ServiceAccount.objects.create(project=project, name="CI")
    service = a_key(project, name="CI", kind=KeyKind.SERVICE, service_account=account, created_by=ada)
    for key in (a_key(project, created_by=ada), service):
        add_call(project, now, key=key)
    add_call(project, now, user_id="user_x", source="playground")
    rows = csv.DictReader(io.StringIO(read(ada_client)))
    assert sorted((row["key"], row["user_id"]) for row in rows) == [
        ("", "user_x"),
        ("CI", ""),
        ("Laptop", ada.public_id),
    ]


def test_the_search_of_the_portal_leads_to_a_call(ada_client: Client, client: Client) -> None:
    """By its request id, as it is pasted; a visitor signs in first."""
    id_ = request_id()
    for somebody in (ada_client, client):
        found = somebody.get("/search/", {"q": f'x-request-id: "{id_}"'})
        assert (found.status_code, found["location"]) == (302, page_of(id_))
    assert ada_client.get("/search/", {"q": "req_uest"}).status_code == 200


def test_what_a_call_went_through_is_told(ada_client: Client, project: Project, now: datetime) -> None:
    told: dict[str, Any] = {"asked_model": "fast", "client": "openai-python 2.1.0", "retries": 1, "failovers": 2}
    found = add_call(
        project, now, backend="gpu-1", deployment="Qwen/Qwen3-8B", completion_tokens=90, reasoning_tokens=80, **told
    )  # fmt: skip
    shown = ada_client.get(page_of(found.request_id)).content.decode()
    for words in ("fast", "openai-python 2.1.0", "2 servers were asked in vain", "had made this call 1 time before",
                  "80 of them reasoning"):  # fmt: skip
        assert words in shown
    # Where the portal has its models from is for its staff.
    assert "Qwen/Qwen3-8B" not in shown
    asked = told | {"reasoning_tokens": 80}
    one = ada_client.get(f"/api/usage/calls/{found.request_id}/").json()
    (row,) = csv.DictReader(io.StringIO(read(ada_client)))
    assert {name: one[name] for name in asked} == asked
    assert {name: row[name] for name in asked} == {name: str(value) for name, value in asked.items()}


@pytest.fixture
def served() -> str:
    """A model that chats."""
    model = HostedModel.objects.create(public_name="qwen3-8b")
    backend = Backend.objects.create(name="gpu-1", base_url="http://127.0.0.1:9/v1")
    Deployment.objects.create(hosted_model=model, backend=backend, backend_name="qwen3-8b")
    return model.public_name


def test_a_call_says_all_that_is_known_of_it(
    ada_client: Client, project: Project, served: str, now: datetime, django_assert_num_queries: Any
) -> None:
    key = a_key(project, name="Laptop", created_by=project.organization.members.get())
    call = add_call(
        project, now, key=key, model=served, backend="gpu-1", prompt_tokens=4321, cached_tokens=4000,
        completion_tokens=101, cost_nano=1500, latency_ms=2250, first_token_ms=250, is_streamed=True, is_estimated=True,
        waited_ms=900,
    )  # fmt: skip
    # Session, user, standing; the project, one's rights there (2), the call, the name of its key; whether one sees that
    # key (2); whether the model chats; of the frame: the projects to switch between, unread notifications.
    with django_assert_num_queries(13):
        answer = ada_client.get(page_of(call.request_id))
    body = answer.content.decode()
    for words in (
        call.request_id, served, "/v1/chat/completions", "streamed", "4,321", "4,000 of them from the cache", "101",
        "$0.0000015", "250", "2.25", "Time of servers", "1.35", "50.0 tokens/s", "gave no final count", "Laptop",
        reverse("apikeys:detail", args=[key.public_id]), f"/playground/?model={served}",
    ):  # fmt: skip
        assert words in body, words
    assert "gpu-1" not in body


def test_staff_see_the_backend_of_what_they_see(sam: User, project: Project, now: datetime) -> None:
    Membership.objects.create(organization=project.organization, user=sam, role=Role.ADMIN)
    call = add_call(project, now, backend="gpu-1", deployment="Qwen/Qwen3-8B")
    shown = client_of(sam).get(page_of(call.request_id)).content.decode()
    assert "/backends/gpu-1/" in shown
    assert "Qwen/Qwen3-8B" in shown


def test_a_failure_is_explained_and_leads_on(ada_client: Client, project: Project, key: Any, now: datetime) -> None:
    call = add_call(project, now, key=key, model="", status=404, error_code="model_not_found")
    answer = ada_client.get(page_of(call.request_id))
    body = answer.content.decode()
    assert "No model of that name is offered to this project." in body
    assert "/docs/errors-and-retries/#model_not_found" in body
    assert "/playground/?model=" not in body
    assert "Nothing ran that is charged." in body
    assert "/docs/errors-and-retries/#charged" in body
    call = add_call(project, now, key=key, status=502, prompt_tokens=3)
    assert "For what ran until it ended." in ada_client.get(page_of(call.request_id)).content.decode()


def test_the_forum_is_asked_about_the_call_and_not_told_whose_it_was(
    ada_client: Client, ada: User, project: Project, key: Any, now: datetime
) -> None:
    call = add_call(project, now, key=key, status=502, error_code="", model="small", latency_ms=12)
    address = ada_client.get(page_of(call.request_id)).context["ask_url"]
    asked = parse_qs(urlsplit(address).query)
    assert asked["title"] == ["502: small"]
    for fact in (call.request_id, "/v1/chat/completions", "12 ms"):
        assert fact in asked["text"][0]
    for secret in (key.name, key.public_id, key.hint, project.public_id, project.organization.public_id, "Ada"):
        assert secret not in asked["text"][0]
    form = ada_client.get(address).content.decode()
    assert call.request_id in form
    assert "502: small" in form


def test_hostile_names_stay_text(ada_client: Client, project: Project, now: datetime) -> None:
    name = "</script><script>alert(1)</script>"
    call = add_call(project, now, model=name, error_code=name[:60], status=400)
    for address in (LOG, page_of(call.request_id)):
        assert "<script>alert" not in ada_client.get(address, {"model": name, "q": ""}).content.decode()


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_each_problem_has_its_place_in_the_docs(language: str) -> None:
    page = tutorial("errors-and-retries", language)
    assert page
    sections = {"charged", *(problem.section for problem in PROBLEMS.values())}
    assert sections - {anchor for _level, anchor in headings(page)} == set()


@pytest.mark.parametrize(
    ("source", "words"),
    [(Source.PLAYGROUND, "You stopped it."), (Source.KEY, "Your program hung up before the answer was complete.")],
)
def test_who_ended_a_call_before_its_end(source: Source, words: str) -> None:
    assert problem_in_words(UsageEvent(source=source, status=499, error_code="client_closed")) == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": 400, "error_code": "invalid_value"}, "The error itself names it."),
        ({"status": 400, "error_code": "invalid_value", "backend": "gpu-1"}, "The model’s server did not accept"),
        ({"status": 429, "error_code": "rate_limit_exceeded"}, "A limit on requests or tokens was reached."),
        ({"status": 429, "error_code": "rate_limit_exceeded", "backend": "gpu-1"}, "The model’s server is busy."),
        ({"status": 502, "error_code": "server_error", "backend": "gpu-1"}, "The model’s server failed to answer."),
        ({"status": 502, "error_code": "server_error", "completion_tokens": 4}, "The model’s server broke off"),
    ],
)
def test_who_refused_or_broke_off_is_told(fields: dict[str, Any], words: str) -> None:
    assert words in problem_in_words(UsageEvent(source=Source.KEY, **fields))


def test_an_answer_has_no_problem() -> None:
    assert problem_of(UsageEvent(status=200)) is None
    assert problem_in_words(UsageEvent(status=200)) == ""


def test_recent_calls_are_of_the_period(project: Project, now: datetime) -> None:
    """Narrowed to what is rarely called, the walk back through all calls would not end before the first one."""
    add_call(project, now - timedelta(days=1))
    wanted = add_call(project, now - timedelta(hours=2))
    add_call(project, now - timedelta(hours=1), model="large")
    asked = Asked(since=now - timedelta(hours=12), model="small")
    assert [call.event for call in log.recent_calls(seen=[Sight(project)], asked=asked)] == [wanted]


def test_a_call_that_named_no_model_can_be_asked_for(project: Project, now: datetime) -> None:
    add_call(project, now)
    wanted = add_call(project, now, model="", status=404)
    (found,) = calls(seen=[Sight(project)], asked=Asked(model=""))
    assert list(found) == [wanted]


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REFUSED, Outcome.BROKEN, Outcome.HUNG_UP])
def test_failures_are_found_in_an_index_of_their_own(project: Project, outcome: Outcome) -> None:
    (found,) = calls(seen=[Sight(project)], asked=Asked(outcome=outcome))
    with connection.cursor() as cursor:
        of_all = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass"
        cursor.execute(of_all, ["failure_by_project"])
        of_months = [name for (name,) in cursor.fetchall()]
        # A month without calls, once PostgreSQL has counted them, is quicker read as a whole.
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = found.order_by("-at", "-pk")[:50].explain()
    assert of_months
    assert all(name in plan for name in of_months)


def test_the_usage_page_leads_here(ada_client: Client, project: Project, key: Any, now: datetime) -> None:
    add_usage(project, now, key=key, errors=1)
    call = add_call(project, now, key=key, status=502, request_id=request_id())
    other = add_call(project, now, status=502)
    answer = ada_client.get(reverse("usage:overview"), {"window": "today", "key": key.public_id})
    assert page_of(call.request_id) in answer.content.decode()
    for address in (answer.context["log_url"], answer.context["failed_url"]):
        found = [call.event.request_id for call in ada_client.get(address).context["calls"]]
        assert found == [call.request_id]
    by_playground = ada_client.get(reverse("usage:overview"), {"key": "playground"}).context["log_url"]
    assert [call.event for call in ada_client.get(by_playground).context["calls"]] == [other]


def test_speed_is_that_of_the_writing(project: Project, now: datetime) -> None:
    def speed(**fields: Any) -> float | None:
        (call,) = described([add_call(project, now, **fields)], seen=[Sight(project)])
        return call.tokens_per_second

    assert speed(completion_tokens=11, first_token_ms=500, latency_ms=1500) == 10.0
    assert speed(completion_tokens=11, latency_ms=1500) is None
    assert speed(completion_tokens=1, first_token_ms=500, latency_ms=1500) is None
    assert speed(completion_tokens=9, first_token_ms=1500, latency_ms=1500) is None

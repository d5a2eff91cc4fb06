"""Limits of an organization, a project, a member, a key and a model on a live gateway: each refuses, and says which."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from django.db import transaction
from django.utils import timezone

from accounts.limits.services import change_member_limits, change_organization_limits, change_project_limits
from accounts.models import Membership, Organization, Plan, Project, User
from accounts.plans.services import assign_plan, change_plan, make_plan
from accounts.projects.services import open_service_account
from accounts.services import open_workspace
from apikeys.models import ApiKey
from apikeys.services import change_key, mint_key
from catalog.models import Backend, Deployment, HostedModel
from catalog.services import change_model_limits
from common import redis as servers
from common.ids import new_id
from notifications.models import Notification
from tests.conftest import client_of
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import MILLION, Reply, Stage, ask, begun, chat, wait_for, wait_until_known
from tests.gateway.test_limits import GO_DURATION
from usage.admission import COUNTED_AGAIN_SECONDS
from usage.counters import base_of
from usage.ingest import drain
from usage.nearing import look_at_budgets
from usage.periods import periods_at

SCOPES = ["key", "member", "project", "organization", "plan", "model"]
ONCE = {
    "requests_per_minute": 1,
    "tokens_per_minute": 45,
    "requests_per_day": 1,
    "tokens_per_day": 45,
    "daily_budget_nano": 300,
    "weekly_budget_nano": 300,
    "monthly_budget_nano": 300,
}
"""Limits that let in one call of a team, and not two."""


class Team:
    """An organization of its own with a key, so that nothing was used before."""

    def __init__(self, url: str) -> None:
        self.url, self.model = url, "paid-chat"
        self.owner = User.objects.create_user(f"{new_id('user').lower()}@gateway.example", name="Grace")
        self.project: Project = open_workspace(user=self.owner)
        self.organization: Organization = self.project.organization
        self.key, self.secret = self.mint()

    def mint(self, **options: Any) -> tuple[ApiKey, str]:
        return mint_key(project=self.project, name="test", by=self.owner, **options)

    def limit(self, scope: str, **changes: int | None) -> None:
        by = self.owner
        match scope:
            case "key":
                change_key(key=self.key, changes=changes, by=by)
            case "member":
                places = Membership.objects.select_related("organization", "user")
                place = places.get(organization=self.organization, user=by)
                change_member_limits(membership=place, changes=changes, by=by)
            case "project":
                change_project_limits(project=self.project, changes=changes, by=by)
            case "organization":
                change_organization_limits(organization=self.organization, changes=changes, by=by)
            case "plan":
                if self.organization.plan is None:
                    self.organization.plan = make_plan(changes={"name": new_id("plan")}, by=by)
                    assign_plan(organization=self.organization, plan=self.organization.plan, by=by)
                change_plan(plan=self.organization.plan, changes=changes, by=by)
            case "model":
                self._host_another(changes)

    def _host_another(self, limits: dict[str, int | None]) -> None:
        """Have calls go to a new model, which a gateway knows with its limits or not at all."""
        self.model = new_id("model")
        prices = {"input_price_nano": MILLION, "output_price_nano": 10 * MILLION}
        with transaction.atomic():
            model = HostedModel.objects.create(public_name=self.model, **prices)
            backend = Backend.objects.get(name="gw-fake")
            Deployment.objects.create(hosted_model=model, backend=backend, backend_name=self.model)
            change_model_limits(hosted_model=model, changes=limits, by=self.owner)
        wait_until_known(self.url, self.secret, self.model)

    def complete(self, secret: str = "", url: str = "", **fields: Any) -> Reply:
        """A call of 3 + 10 tokens, which costs 103 nano-dollars."""
        body = {"model": self.model, "messages": chat(), "max_tokens": 10, "fake": {"tokens": 10}, **fields}
        return ask(url or self.url, "/chat/completions", secret=secret or self.secret, body=body)

    def crowd(self, callers: int, *, urls: Sequence[str], secrets: Sequence[str], **fields: Any) -> list[int]:
        """The statuses of calls made at once, in turn at each of the gateways and with each of the keys."""
        return asyncio.run(self._crowd(callers, urls, secrets, fields))

    async def _crowd(
        self, callers: int, urls: Sequence[str], secrets: Sequence[str], fields: dict[str, Any]
    ) -> list[int]:
        body = {"model": self.model, "messages": chat(), "max_tokens": 1, **fields}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def call(number: int) -> int:
                bearer = {"Authorization": f"Bearer {secrets[number % len(secrets)]}"}
                to = f"{urls[number // len(secrets) % len(urls)]}/chat/completions"
                async with session.post(to, json=body, headers=bearer) as response:
                    await response.read()
                    return response.status

            return await asyncio.gather(*(call(number) for number in range(callers)))

    def remove(self) -> None:
        HostedModel.objects.filter(public_name=self.model).exclude(public_name="paid-chat").delete()
        self.organization.delete()
        Plan.objects.all().delete()
        self.owner.delete()


@pytest.fixture
def team(stage: Stage, url: str) -> Iterator[Team]:
    made = Team(url)
    yield made
    made.remove()


def refusal(reply: Reply, scope: str, name: str) -> dict[str, Any]:
    """What a refusal tells programs, as far as it is the same for all."""
    assert reply.status == 429, reply.body
    told: dict[str, Any] = reply.error["limit"]
    assert (told["name"], told["scope"]) == (name, scope)
    assert set(told) == {"name", "scope", "scope_id", "limit", "used", "requested", "resets_at", "url"}
    assert told["used"] + told["requested"] > told["limit"]
    assert datetime.fromisoformat(told["resets_at"]) > timezone.now()
    assert reply.headers["x-ratelimit-limit-requests"].isdigit()
    assert reply.headers["x-ratelimit-remaining-tokens"].isdigit()
    assert GO_DURATION.fullmatch(reply.headers["x-ratelimit-reset-requests"])
    return told


@pytest.mark.parametrize("scope", SCOPES)
def test_it_works(team: Team, scope: str) -> None:
    team.limit(scope, requests_per_day=2)
    assert [team.complete().status for _call in range(2)] == [200, 200]
    reply = team.complete()
    told = refusal(reply, scope, "requests_per_day")
    assert (told["limit"], told["used"], told["requested"]) == (2, 2, 1)
    assert datetime.fromisoformat(told["resets_at"]) == periods_at(timezone.now(), "UTC").day.ends_at
    assert "requests per day (RPD): Limit 2, Used 2, Requested 1. Please try again in" in reply.error["message"]
    assert int(reply.headers["retry-after"]) > 0
    whose: dict[str, Any] = {
        "member": team.owner,
        "key": team.key,
        "project": team.project,
        "organization": team.organization,
        "plan": team.organization,
    }
    assert told["scope_id"] == (team.model if scope == "model" else whose[scope].public_id)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", ONCE)
def test_each_limit_of_each_scope_refuses_what_is_beyond_it(team: Team, scope: str, name: str) -> None:
    team.limit(scope, **{name: ONCE[name]})
    assert team.complete().status == 200
    reply = team.complete()
    refusal(reply, scope, name)
    is_money = name.endswith("_nano")
    assert reply.error["code"] == ("insufficient_quota" if is_money else "rate_limit_exceeded")
    if is_money:
        assert reply.headers["x-should-retry"] == "false"
        assert "retry-after" not in reply.headers
        assert f"The {name.partition('_')[0]} budget of" in reply.error["message"]
    # Money never blocks what costs none, and a model's limits hold for that model.
    assert team.complete(model="fake-chat").status == (200 if is_money or scope == "model" else 429)


@pytest.mark.parametrize("scope", SCOPES)
def test_calls_at_the_same_time(team: Team, scope: str) -> None:
    team.limit(scope, concurrent_requests=1)
    with begun(team.url, team.secret, {"slow_headers": 5}, model=team.model):
        wait_for(lambda: team.complete(max_tokens=1).status == 429)
        refusal(team.complete(), scope, "concurrent_requests")
    wait_for(lambda: team.complete().status == 200)


def test_the_time_of_servers_is_counted(team: Team) -> None:
    team.limit("project", gpu_seconds_per_day=1)
    assert team.complete(fake={"slow_headers": 1.1}).status == 200
    told = refusal(team.complete(), "project", "gpu_seconds_per_day")
    assert told["used"] == 1


def test_the_headers_are_on_streams_as_well(team: Team) -> None:
    team.limit("organization", requests_per_minute=1)
    replies = [team.complete(stream=True) for _call in range(2)]
    assert [reply.status for reply in replies] == [200, 429]
    assert replies[0].headers["content-type"].startswith("text/event-stream")
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["0", "0"]
    assert {reply.headers["x-ratelimit-limit-requests"] for reply in replies} == {"1"}


@pytest.mark.parametrize("scope", SCOPES)
def test_the_page_that_a_refusal_names_shows_what_counted(team: Team, scope: str) -> None:
    team.limit(scope, requests_per_day=1)
    replies = [team.complete() for _call in range(2)]
    drain()
    address = urlsplit(refusal(replies[1], scope, "requests_per_day")["url"])
    reader = client_of(team.owner)
    page = reader.get(f"{address.path}?{address.query}")
    assert page.status_code == 200
    assert team.model in page.content.decode()
    assert parse_qs(address.query)["project"] == [team.project.public_id]


@pytest.mark.parametrize(("span", "window"), [("daily", "today"), ("weekly", "7d"), ("monthly", "30d")])
def test_the_page_that_a_refusal_names_shows_the_time_of_the_budget(team: Team, span: str, window: str) -> None:
    team.limit("project", **{f"{span}_budget_nano": 1})
    address = urlsplit(team.complete().error["limit"]["url"])
    page = client_of(team.owner).get(f"{address.path}?{address.query}")
    assert page.context["asked"].window == window


@pytest.fixture
def operator(team: Team) -> Iterator[User]:
    staff = User.objects.create_user(f"{new_id('user').lower()}@gateway.example", is_staff=True)
    yield staff
    staff.delete()


@pytest.mark.parametrize("scope", SCOPES)
def test_people_are_told_when_a_budget_nears_its_end_and_when_calls_are_refused(
    team: Team, operator: User, scope: str
) -> None:
    person = operator if scope == "model" else team.owner
    told = Notification.objects.filter(recipient=person).order_by("pk")
    team.limit(scope, monthly_budget_nano=10_200)

    def has_heard(*percents: str) -> bool:
        drain()
        look_at_budgets()
        return [row.events[0]["facts"]["percent"] for row in told.all()] == list(percents)

    assert team.complete(max_tokens=1000, fake={"tokens": 1000}).status == 200
    wait_for(lambda: has_heard("80"))
    # Of what is left, the most that another could cost is too much.
    assert team.complete().status == 429
    wait_for(lambda: has_heard("80", "100"))
    assert client_of(person).get(told[0].url).status_code == 200


def test_what_was_used_before_a_limit_was_set_counts(team: Team) -> None:
    assert [team.complete().status for _call in range(2)] == [200, 200]
    team.limit("project", requests_per_day=2)
    refusal(team.complete(), "project", "requests_per_day")
    team.limit("project", requests_per_day=None)
    assert team.complete().status == 200
    team.limit("project", requests_per_day=4)
    assert [team.complete().status for _call in range(2)] == [200, 429]


@pytest.mark.parametrize("scope", ["member", "plan"])
def test_calls_that_run_while_a_limit_is_set_count_when_they_have_ended(
    team: Team, fake: FakeInferenceServer, scope: str
) -> None:
    client, base, asked = servers.durable(), base_of(team.organization.public_id), fake.ledger.requests

    def counters() -> list[str]:
        return list(client.scan_iter(f"{base}*:used:*"))

    def seconds_left(key: str) -> int:
        return cast(int, client.ttl(key))

    with begun(team.url, team.secret, {"held": True, "tokens": 10}, max_tokens=10) as running:
        wait_for(lambda: fake.ledger.requests > asked and client.hlen(f"{base}holds") == 1)
        team.limit(scope, monthly_budget_nano=1)
        wait_for(lambda: team.complete().status == 429)
        before = refusal(team.complete(), scope, "monthly_budget_nano")["used"]
        fake.release()
        assert running.getresponse().read()
    drain()
    (counter,) = counters()
    assert 0 < seconds_left(counter) <= COUNTED_AGAIN_SECONDS
    # As if so much time were over.
    client.delete(counter)
    assert refusal(team.complete(), scope, "monthly_budget_nano")["used"] == before + 103
    assert seconds_left(counter) > COUNTED_AGAIN_SECONDS


def test_a_program_of_the_project_is_not_its_maker(team: Team) -> None:
    account = open_service_account(project=team.project, name="nightly", by=team.owner)
    _key, secret = team.mint(service_account=account)
    team.limit("member", requests_per_day=1)
    assert [team.complete(secret).status for _call in range(2)] == [200, 200]
    assert [team.complete().status for _call in range(2)] == [200, 429]


def test_a_call_that_no_server_was_asked_for_counts_for_nothing(team: Team) -> None:
    team.limit("project", requests_per_day=1)
    assert team.complete(model="fake-embed").status == 400
    assert [team.complete().status for _call in range(2)] == [200, 429]

"""Plans on a live gateway: what one allows beside the owner's own limits, for which models and at what price."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from accounts.models import Plan
from accounts.plans.services import assign_plan, change_plan, make_plan
from apikeys.services import change_key
from common import redis
from common.ids import new_id
from common.money import NANO
from playground.models import Run
from playground.services import start_run
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import MILLION, Reply, Stage, ask, begun, wait_for
from tests.gateway.test_limits_of_scopes import Team, refusal
from usage.counters import base_of
from usage.credits.services import grant_credits
from usage.models import UsageEvent
from usage.policies import caller_for_run

EventOf = Callable[[str], UsageEvent]


@pytest.fixture
def team(stage: Stage, url: str) -> Iterator[Team]:
    made = Team(url)
    yield made
    made.remove()


def put(team: Team, **values: Any) -> Plan:
    """A plan with these values, which the team is on from now on."""
    plan = make_plan(changes={"name": new_id("plan"), **values}, by=team.owner)
    assign_plan(organization=team.organization, plan=plan, by=team.owner)
    return plan


def models(team: Team) -> set[str]:
    return {model["id"] for model in ask(team.url, "/models", method="GET", secret=team.secret).json["data"]}


def cost(reply: Reply, event_of: EventOf) -> int:
    assert reply.status == 200, reply.body
    return event_of(reply.headers["x-request-id"]).cost_nano


def test_it_works(team: Team, event_of: EventOf) -> None:
    put(team, requests_per_day=2, allowed_models=["paid-chat"], prices={"paid-chat": [2 * MILLION, 0]}, name="Starter")
    assert models(team) == {"paid-chat"}
    assert cost(team.complete(), event_of) == 6
    assert team.complete(model="fake-chat").status == 403
    assert team.complete().status == 200
    reply = team.complete()
    assert refusal(reply, "plan", "requests_per_day")["limit"] == 2
    assert "by the limit of your organization’s plan “Starter” on requests per day" in reply.error["message"]


def test_an_owner_does_not_lift_what_the_plan_allows(team: Team) -> None:
    put(team, requests_per_day=1)
    team.limit("organization", requests_per_day=100)
    assert [team.complete().status for _call in range(2)] == [200, 429]
    refusal(team.complete(), "plan", "requests_per_day")


def test_the_smaller_of_both_holds(team: Team) -> None:
    put(team, requests_per_day=100)
    team.limit("organization", requests_per_day=1)
    assert [team.complete().status for _call in range(2)] == [200, 429]
    refusal(team.complete(), "organization", "requests_per_day")


def test_a_model_outside_the_plan_is_refused_as_one_outside_the_key(team: Team) -> None:
    change_key(key=team.key, changes={"allowed_models": ["fake-chat"]}, by=team.owner)
    of_the_key = team.complete()
    change_key(key=team.key, changes={"allowed_models": []}, by=team.owner)
    put(team, allowed_models=["fake-chat"])
    of_the_plan = team.complete()
    assert of_the_plan.status == of_the_key.status == 403
    assert of_the_plan.error == of_the_key.error
    assert ask(team.url, "/models/paid-chat", method="GET", secret=team.secret).status == 403
    assert team.complete(model="fake-chat").status == 200


def test_a_key_for_models_that_are_not_in_the_plan_may_use_none(team: Team) -> None:
    change_key(key=team.key, changes={"allowed_models": ["paid-chat"]}, by=team.owner)
    put(team, allowed_models=["fake-chat"])
    assert models(team) == set()
    assert {team.complete(model=name).status for name in ("paid-chat", "fake-chat")} == {403}


def test_a_playground_run_is_held_to_the_plan(team: Team) -> None:
    plan = put(team, requests_per_day=7, allowed_models=["fake-chat"], prices={"fake-chat": [1, 2]})
    run = start_run(user=team.owner, project=team.project, model="fake-chat", messages=[], parameters={})
    caller = caller_for_run(run.user, Run.objects.get(pk=run.pk).project)
    assert {(scope.kind, scope.limits) for scope in caller.scopes if scope.kind == "plan"} == {("plan", plan.limits)}
    assert not caller.may_use_model("paid-chat")
    assert caller.prices == {"fake-chat": (1, 2)}
    run.delete()


def test_the_price_of_the_plan_counts_against_its_budget(team: Team, event_of: EventOf) -> None:
    put(team, monthly_budget_nano=10, prices={"paid-chat": [0, 0], "fake-chat": [MILLION, MILLION]})
    assert cost(team.complete(), event_of) == 0
    assert team.complete().status == 200
    reply = team.complete(model="fake-chat")
    refusal(reply, "plan", "monthly_budget_nano")
    assert reply.error["code"] == "insufficient_quota"
    assert "The monthly budget of your organization’s plan" in reply.error["message"]


def test_credits_do_not_lift_the_budget_of_a_plan_and_the_refusal_says_so(team: Team) -> None:
    grant_credits(
        organization=team.organization, amount_nano=100 * NANO, reason="Welcome", expires_at=None, by=team.owner
    )
    put(team, monthly_budget_nano=1)
    wait_for(lambda: team.complete().status == 429)
    reply = team.complete()
    refusal(reply, "plan", "monthly_budget_nano")
    assert "What credits pay counts against it as well" in reply.error["message"]


def test_a_change_of_the_plan_is_felt_at_once(team: Team, event_of: EventOf) -> None:
    plan = put(team, allowed_models=["paid-chat"], prices={"paid-chat": [MILLION, 0]})
    assert cost(team.complete(), event_of) == 3
    change_plan(plan=plan, changes={"prices": {"paid-chat": [4 * MILLION, 0]}, "requests_per_day": 3}, by=team.owner)
    wait_for(lambda: cost(team.complete(), event_of) == 12)
    wait_for(lambda: team.complete().status == 429)
    assign_plan(organization=team.organization, plan=None, by=team.owner)
    wait_for(lambda: team.complete().status == 200)
    assert cost(team.complete(), event_of) == 103


def test_what_was_used_under_another_plan_counts(team: Team) -> None:
    put(team, requests_per_day=100)
    assert team.complete().status == 200
    # While no limit is set for a day, nobody counts it.
    put(team, requests_per_minute=1000)
    assert team.complete().status == 200
    put(team, requests_per_day=3)
    assert [team.complete().status for _call in range(2)] == [200, 429]


def test_a_call_that_runs_while_the_plan_changes_ends_as_it_began(
    team: Team, fake: FakeInferenceServer, event_of: EventOf
) -> None:
    plan = put(team, prices={"paid-chat": [MILLION, MILLION]}, requests_per_day=5)
    replies: list[Reply] = []
    before = fake.ledger.requests
    told = {"tokens": 10, "held": True}
    running = [
        threading.Thread(target=lambda: replies.append(team.complete(fake=told)), daemon=True) for _call in range(3)
    ]
    with begun(team.url, team.secret, {"slow_headers": 30}):
        for thread in running:
            thread.start()
        wait_for(lambda: fake.ledger.requests == before + 4)
        assert _in_flight(team) == 4
        change_plan(
            plan=plan,
            changes={"prices": {"paid-chat": [9 * MILLION, 9 * MILLION]}, "allowed_models": ["paid-chat"]},
            by=team.owner,
        )
        fake.release()
        for thread in running:
            thread.join(10)
    assert [cost(reply, event_of) for reply in replies] == [13, 13, 13]
    # All that was let in is counted, and one more is left.
    wait_for(lambda: _in_flight(team) == 0)
    assert [reply.status for reply in (team.complete(), team.complete())] == [200, 429]


def _in_flight(team: Team) -> int:
    return cast(int, redis.durable().hlen(f"{base_of(team.organization.public_id)}holds"))

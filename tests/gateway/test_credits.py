"""A prepaid organization on a live gateway: it spends its credits, and then is told who can grant more."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.asgi import LONG_SECONDS
from tests.gateway.conftest import chat, wait_for
from tests.gateway.test_connections import connected, head, status
from tests.gateway.test_limits_of_scopes import Team, team
from usage.credits.services import grant_credits, revoke_grant
from usage.models import CreditGrant, UsageEvent
from usage.reconciliation import reconcile, this_month_and_the_last

__all__ = ["team"]


@pytest.fixture
def prepaid(team: Team) -> Team:
    """Nothing may be spent but credits, of which there are none."""
    team.limit("organization", monthly_budget_nano=0)
    assert team.complete().status == 429
    return team


def grant(team: Team, nano: int) -> CreditGrant:
    return grant_credits(
        organization=team.organization, amount_nano=nano, reason="Welcome", expires_at=None, by=team.owner
    )


def test_it_works(prepaid: Team, event_of: Callable[[str], UsageEvent]) -> None:
    granted = grant(prepaid, 10_000)
    wait_for(lambda: prepaid.complete().status == 200)
    spent = prepaid.complete()
    assert spent.status == 200
    event = event_of(spent.headers["x-request-id"])
    assert event.credit_nano == event.cost_nano == 103
    assert event.draws == {granted.public_id: 103}
    # Free models go on whatever is left.
    assert prepaid.complete(model="fake-chat").status == 200
    revoke_grant(grant=granted, reason="Mistaken", by=prepaid.owner)
    wait_for(lambda: prepaid.complete().status == 429)
    refused = prepaid.complete()
    assert refused.error["code"] == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"
    assert "has no credits left" in refused.error["message"]
    assert "The operator of this portal can grant more credits" in refused.error["message"]
    assert (refused.error["limit"]["scope"], refused.error["limit"]["credits"]) == ("organization", 0)


def test_credits_for_fifty_calls_are_for_fifty(prepaid: Team, event_of: Callable[[str], UsageEvent]) -> None:
    # Of a server that counts more than was reserved, a call costs what was reserved.
    priced: dict[str, Any] = {"max_tokens": 1, "fake": {"prompt_tokens": 10_000}}
    first = grant(prepaid, 10**9)
    wait_for(lambda: prepaid.complete(**priced).status == 200)
    cost = event_of(prepaid.complete(**priced).headers["x-request-id"]).cost_nano
    revoke_grant(grant=first, reason="Only to learn what a call costs", by=prepaid.owner)
    wait_for(lambda: prepaid.complete(**priced).status == 429)
    for part in (20, 30):
        grant(prepaid, part * cost)
    wait_for(lambda: prepaid.complete(**priced).status == 200)
    statuses = prepaid.crowd(200, urls=[prepaid.url], secrets=[prepaid.secret], **priced)
    assert (statuses.count(200), statuses.count(429)) == (49, 151)
    assert not [
        one
        for one in reconcile(this_month_and_the_last()).differences
        if one.organization_id == prepaid.organization.public_id
    ]


def test_what_is_revoked_while_a_call_comes_pays_nothing_of_it(prepaid: Team) -> None:
    granted = grant(prepaid, 10_000)
    wait_for(lambda: prepaid.complete().status == 200)
    body = json.dumps({"model": prepaid.model, "messages": chat(), "max_tokens": 10}).encode()
    with connected(prepaid.url) as connection:
        connection.sendall(head(len(body), prepaid.secret) + body[:20])
        # So long that its key was looked up, with the credits that there were.
        time.sleep(LONG_SECONDS)
        revoke_grant(grant=granted, reason="Mistaken", by=prepaid.owner)
        wait_for(lambda: prepaid.complete().status == 429)
        connection.sendall(body[20:])
        assert status(connection) == 429


def test_budgets_of_others_count_all_that_calls_cost(prepaid: Team) -> None:
    grant(prepaid, 10_000)
    wait_for(lambda: prepaid.complete().status == 200)
    prepaid.limit("project", monthly_budget_nano=300)
    wait_for(lambda: prepaid.complete().status == 429)
    assert prepaid.complete().error["limit"]["scope"] == "project"

"""What a month will cost: a formula that anybody can check."""

from datetime import UTC, datetime, timedelta

import pytest
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import Project, User
from accounts.roles import Role
from apikeys.models import ApiKey
from common.ids import uuid7
from common.money import display_dollars
from tests.usage.ledger import a_key
from tests.usage.test_ingest import event
from usage.credits.services import grant_credits
from usage.forecast import Forecast, forecast
from usage.ingest import insert_all
from usage.models import CreditGrant, UsageRollup15Min
from usage.reports import EVERYTHING, Narrowing
from usage.sight import Sight

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 22, 12, tzinfo=UTC)  # nine and a half days of March are left
DOLLAR = 1_000_000_000


@pytest.fixture
def key(project: Project) -> ApiKey:
    """A key that costs a dollar on each of the last 10 days, 14 a day a month ago, and a dollar this morning."""
    key = a_key(project, monthly_budget_nano=17 * DOLLAR)
    for days, cost in [(0, 1), *((day, 1) for day in range(1, 11)), (31, 14)]:
        spend(project, NOON - timedelta(days=days, hours=1), cost, key=key)
    return key


def spend(project: Project, at: datetime, dollars: int, key: ApiKey | None = None) -> None:
    insert_all(
        [
            event(
                id=uuid7(milliseconds=int(at.timestamp() * 1000)).hex,
                project_id=project.public_id,
                key_id=key.public_id if key else "",
                cost_nano=dollars * DOLLAR,
            )
        ]
    )


def told(project: Project, narrowing: Narrowing = EVERYTHING) -> Forecast | None:
    ada = project.organization.memberships.get(role=Role.OWNER).user
    return forecast(sights=[Sight(project)], narrowing=narrowing, is_organization_wide=False, reader=ada, now=NOON)


def told_of_all(reader: User, sight: Sight) -> Forecast:
    found = forecast(sights=[sight], narrowing=EVERYTHING, is_organization_wide=True, reader=reader, now=NOON)
    assert found is not None
    return found


def test_it_works(project: Project, key: ApiKey) -> None:
    found = told(project, Narrowing(key=key.public_id))
    assert found is not None
    assert (found.spent_nano, found.daily_nano) == (11 * DOLLAR, DOLLAR)
    assert display_dollars(found.total_nano) == "$20.50"
    assert found.is_over
    assert found.used_up_at == NOON + timedelta(days=6)


def test_a_budget_that_lasts_is_not_used_up(project: Project, key: ApiKey) -> None:
    ApiKey.objects.update(monthly_budget_nano=21 * DOLLAR)
    found = told(project, Narrowing(key=key.public_id))
    assert found is not None
    assert (found.is_over, found.used_up_at) == (False, None)


def test_one_that_is_used_up_was_so_before(project: Project, key: ApiKey) -> None:
    ApiKey.objects.update(monthly_budget_nano=10 * DOLLAR)
    found = told(project, Narrowing(key=key.public_id))
    assert found is not None
    assert (found.is_over, found.used_up_at) == (True, None)


def test_a_project_has_the_cost_of_all_its_keys_and_no_keys_budget(project: Project, key: ApiKey) -> None:
    spend(project, NOON - timedelta(days=1), 7)
    found = told(project)
    assert found is not None
    assert (found.spent_nano, found.daily_nano, found.limit_nano) == (18 * DOLLAR, 2 * DOLLAR, None)


@pytest.mark.parametrize(
    ("dollars", "words", "reddened"), [(17, "120.6% of the budget", True), (41, "50% of the budget", False)]
)
def test_the_bar_of_a_budget_tells_where_the_month_ends(
    dollars: int, words: str, reddened: bool, project: Project
) -> None:
    found = Forecast(
        now=NOON, ends_at=NOON + timedelta(days=9.5), spent_nano=11 * DOLLAR, daily_nano=DOLLAR, days=7,
        limit_nano=dollars * DOLLAR, whose="Budget of the project", counts_credits=False,
    )  # fmt: skip
    shown = render_to_string("usage/_forecast.html", {"forecast": found})
    assert words in shown
    assert f"$11.00 of ${dollars}.00 spent, $20.50 by the end of the month" in shown
    assert ("fill-error" in shown) == reddened


@pytest.mark.parametrize(("counts_credits", "words"), [(False, "$1,000.006"), (True, "$1,000.01")])
def test_a_budget_is_told_as_it_was_chosen(counts_credits: bool, words: str) -> None:
    found = Forecast(
        now=NOON, ends_at=NOON + timedelta(days=9.5), spent_nano=DOLLAR, daily_nano=DOLLAR, days=7,
        limit_nano=1_000_006_000_000, whose="Budget of the project", counts_credits=counts_credits,
    )  # fmt: skip
    shown = render_to_string("usage/_forecast.html", {"forecast": found})
    assert f">{words}</dd>" in shown
    assert f"$1.00 of {words} spent" in shown


@pytest.mark.parametrize(
    ("first", "days", "daily"), [(1, 1, 14), (2, 2, 7), (7, 7, 2), (8, 7, 0), (31, 7, 0), (32, 1, 1)]
)
def test_the_mean_is_of_the_days_since_the_first_call_that_cost(
    first: int, days: int, daily: int, project: Project
) -> None:
    """$13 on the first day, $1 yesterday, 30 minutes before midnight; what cost nothing was before."""
    spend(project, NOON - timedelta(days=20), 0)
    spend(project, NOON.replace(hour=23, minute=30) - timedelta(days=first), 13)
    spend(project, NOON.replace(hour=23, minute=30) - timedelta(days=1), 1)
    found = told(project)
    assert found is not None
    assert (found.days, found.daily_nano // DOLLAR) == (days, daily)


def test_the_days_are_those_of_the_organization(project: Project) -> None:
    spend(project, NOON - timedelta(hours=13), 1)
    found = told(project)
    assert found is not None
    assert found.days == 1
    # There it was today already.
    project.organization.time_zone = "Asia/Kathmandu"
    found = told(project)
    assert found is not None
    assert found.days == 0


def test_before_a_day_is_over_there_is_no_forecast_yet(project: Project) -> None:
    spend(project, NOON - timedelta(hours=1), 11)
    project.monthly_budget_nano = 17 * DOLLAR
    found = told(project)
    assert found is not None
    assert (found.days, found.spent_nano, found.used_up_at) == (0, 11 * DOLLAR, None)
    shown = " ".join(render_to_string("usage/_forecast.html", {"forecast": found}).split())
    assert "<dt>Forecast for the whole month</dt><dd>From tomorrow on</dd>" in shown
    assert 'aria-label="$11.00 of $17.00 spent"' in shown
    assert "a forecast needs a whole day of use. Months and days are" in shown
    assert "of the budget" not in shown


@pytest.mark.parametrize(
    ("days", "words"),
    [(1, "what was spent yesterday, the first day of use. Months"), (3, "the mean of the last 3 whole days. Months")],
)
def test_it_says_of_how_many_days_the_mean_is(days: int, words: str) -> None:
    found = Forecast(
        now=NOON, ends_at=NOON + timedelta(days=9.5), spent_nano=DOLLAR, daily_nano=DOLLAR, days=days,
        limit_nano=None, whose="", counts_credits=False,
    )  # fmt: skip
    assert f"$1.00 for each day that is left: {words}" in render_to_string("usage/_forecast.html", {"forecast": found})


def test_credits_count_whole_while_nobody_knows_the_pace(project: Project, ada: User) -> None:
    spend(project, NOON - timedelta(hours=1), 1)
    project.organization.monthly_budget_nano = 0
    CreditGrant.objects.create(
        organization_id=project.organization.public_id, amount_nano=5 * DOLLAR, at_hand_nano=5 * DOLLAR,
        reason="A pilot", granted_by="sam", expires_at=NOON + timedelta(days=2),
    )  # fmt: skip
    assert told_of_all(ada, Sight(project)).limit_nano == 5 * DOLLAR


def test_of_nothing_there_is_no_forecast(project: Project) -> None:
    assert told(project) is None
    spend(project, NOON, 0)
    assert told(project) is None


def test_a_project_has_its_own_budget(project: Project, key: ApiKey) -> None:
    project.monthly_budget_nano = 17 * DOLLAR
    found = told(project)
    assert found is not None
    assert (found.whose, found.used_up_at) == ("Budget of the project", NOON + timedelta(days=6))


def test_an_organization_has_its_own_which_counts_archived_projects_too(
    project: Project, key: ApiKey, ada: User, ben: User
) -> None:
    organization = project.organization
    old = Project.objects.create(organization=organization, name="Old", archived_at=NOON)
    spend(old, NOON - timedelta(days=20), 4)
    organization.monthly_budget_nano = 17 * DOLLAR
    found = told_of_all(ada, Sight(project))
    assert (found.whose, found.spent_nano) == ("Budget of the organization", 15 * DOLLAR)
    assert found.used_up_at == NOON + timedelta(days=2)
    # A member sees all that is there, and not what came before.
    found = told_of_all(ben, Sight(project))
    assert (found.whose, found.limit_nano, found.spent_nano) == ("", None, 11 * DOLLAR)


def test_credits_pay_before_the_budget_of_an_organization(project: Project, key: ApiKey, ada: User) -> None:
    organization = project.organization
    organization.monthly_budget_nano = 0
    soon = timezone.now() + timedelta(days=1)
    grant_credits(organization=organization, amount_nano=17 * DOLLAR, reason="A pilot", expires_at=soon, by=ada)
    found = told_of_all(ada, Sight(project))
    assert (found.whose, found.limit_nano) == ("Budget of the organization with its credits", 17 * DOLLAR)
    assert found.used_up_at == NOON + timedelta(days=6)


def test_credits_that_end_pay_only_what_is_spent_until_then(project: Project, key: ApiKey, ada: User) -> None:
    """At a dollar a day; what ends first is drawn on before the others, and what lives longer counts whole."""
    organization = project.organization
    organization.monthly_budget_nano = 12 * DOLLAR
    for days, dollars, limit in [(2, 3, 14), (4, 1, 15), (-1, 5, 15), (5, 90, 17), (9.5, 5, 22)]:
        CreditGrant.objects.create(
            organization_id=organization.public_id, amount_nano=dollars * DOLLAR, at_hand_nano=dollars * DOLLAR,
            reason="A pilot", granted_by="sam", expires_at=NOON + timedelta(days=days),
        )  # fmt: skip
        assert told_of_all(ada, Sight(project)).limit_nano == limit * DOLLAR
    found = told_of_all(ada, Sight(project))
    assert (found.spent_nano, found.used_up_at) == (11 * DOLLAR, None)


def test_credits_that_ended_are_in_what_they_paid(project: Project, key: ApiKey, ada: User) -> None:
    project.organization.monthly_budget_nano = 0
    UsageRollup15Min.objects.filter(bucket_at__day=22).update(credit_nano=DOLLAR)
    found = told_of_all(ada, Sight(project))
    assert (found.whose, found.limit_nano) == ("Budget of the organization with its credits", DOLLAR)


def test_a_budget_of_more_than_is_seen_is_not_told_of(project: Project, key: ApiKey, ada: User) -> None:
    project.monthly_budget_nano = project.organization.monthly_budget_nano = 17 * DOLLAR
    own = Sight(project, own=(ada.public_id, (key.public_id,)))
    for narrowing, sight in (
        (EVERYTHING, own),
        (Narrowing(model="m"), Sight(project)),
        (Narrowing(key=key.public_id, model="m"), Sight(project)),
    ):
        found = forecast(sights=[sight], narrowing=narrowing, is_organization_wide=False, reader=ada, now=NOON)
        assert found is not None
        assert found.limit_nano is None
    assert told_of_all(ada, own).limit_nano is None


def test_what_a_member_costs_is_told_to_those_who_may_know(project: Project, key: ApiKey, ada: User) -> None:
    key.created_by = ada
    key.save()
    by_member = Narrowing(member=ada.public_id)
    assert told(project, by_member) is None
    sights = [Sight(project, sees_people=True)]
    found = forecast(sights=sights, narrowing=by_member, is_organization_wide=False, reader=ada, now=NOON)
    assert found is not None
    assert found.spent_nano == 11 * DOLLAR

"""People and programs are told that credits run out or end: who, when, in which words, and how often."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import mail
from django.utils import timezone, translation

from accounts.models import Membership, Organization, Project, User
from accounts.roles import Role
from common.money import NANO
from notifications.models import Notification
from notifications.services import send_waiting
from notifications.texts import tell
from tests.usage.ledger import add_call
from tests.usage.test_nearing import spend
from tests.usage.test_nearing import told as budget_alerts
from usage.credits.nearing import look_at_credits
from usage.credits.services import grant_credits, revoke_grant
from usage.models import BudgetAlert, CreditDraw, CreditGrant, UsageOrganizationDay
from usage.nearing import forget_alerts
from usage.tasks import look_at_budgets as task
from webhooks.models import Message
from webhooks.services import create_endpoint

pytestmark = pytest.mark.django_db


def grant(project: Project, by: User, dollars: float = 100, *, days: float = 0) -> CreditGrant:
    """Credits that end in so many `days`, if at all."""
    end = timezone.now() + timedelta(days=days) if days else None
    given = grant_credits(
        organization=project.organization, amount_nano=int(dollars * NANO), reason="Welcome", expires_at=end, by=by
    )
    Notification.objects.all().delete()
    return given


def draw(of: CreditGrant, dollars: float) -> None:
    """Have calls draw so much on a grant."""
    now = timezone.now()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    # A day has one row.
    day = today - timedelta(days=CreditDraw.objects.count())
    CreditDraw.objects.create(
        grant_id=of.public_id, organization_id=of.organization_id, day=day, nano=int(dollars * NANO)
    )
    UsageOrganizationDay.objects.update_or_create(
        bucket_at=today, organization_id=of.organization_id, defaults={"updated_at": now}
    )


def notices(person: User) -> list[str]:
    """The kinds of what somebody is told, oldest first."""
    look_at_credits()
    rows = Notification.objects.filter(recipient=person, group="credits").order_by("pk")
    return [row.kind.removeprefix("credits.") for row in rows]


def sentences(person: User) -> list[str]:
    rows = list(Notification.objects.filter(recipient=person, group="credits").order_by("pk"))
    return [one.text for one in tell(person, rows)]


def prepaid(project: Project) -> None:
    Organization.objects.filter(pk=project.organization.pk).update(monthly_budget_nano=0)


def test_it_works(project: Project, ada: User, sam: User, settings: LazySettings) -> None:
    create_endpoint(
        organization=project.organization, url="https://example.com", description="", event_types=[], by=ada
    )
    given = grant(project, sam)
    draw(given, 80)
    task()
    sentence = (
        "At most a fifth of the credits of the organization “Personal” is left: $20.00 of the $100.00 that were there "
        "after the last grant."
    )
    assert sentences(ada) == [sentence]
    page = f"/organizations/{project.organization.public_id}/credits/"
    assert Notification.objects.get().url == page
    send_waiting()
    [message] = mail.outbox
    assert (message.to, message.subject) == ([ada.email], sentence)
    assert f"{settings.PUBLIC_URL}{page}" in message.body
    announced = Message.objects.get()
    assert announced.event_type == "credits.alert"
    assert announced.data == {
        "notice": "low",
        "grant_id": given.public_id,
        "left_nano_dollars": 20 * NANO,
        "of_nano_dollars": 100 * NANO,
        "ends_at": None,
        "url": settings.PUBLIC_URL + page,
    }


def test_each_is_told_once(project: Project, ada: User, sam: User) -> None:
    given = grant(project, sam)
    draw(given, 79)
    assert notices(ada) == []
    draw(given, 2)
    assert notices(ada) == ["low"]
    draw(given, 2)
    assert notices(ada) == ["low"]
    draw(given, 17)
    assert notices(ada) == ["low", "used_up"]
    forget_alerts()
    assert notices(ada) == ["low", "used_up"]
    assert sentences(ada)[1] == (
        "The credits of the organization “Personal” have run out. What its calls cost counts against its budgets now."
    )


def test_what_is_used_up_at_once_is_told_as_that_alone(project: Project, ada: User, sam: User) -> None:
    draw(grant(project, sam), 100)
    assert notices(ada) == ["used_up"]


def test_a_new_grant_tells_anew(project: Project, ada: User, sam: User) -> None:
    draw(grant(project, sam), 100)
    assert notices(ada) == ["used_up"]
    # What is long used up is no part of what there is: $10 of $10 is not low.
    new = grant(project, sam, 10)
    assert notices(ada) == []
    draw(new, 8)
    assert notices(ada) == ["low"]


def test_a_small_grant_after_a_large_one_is_not_low_at_once(project: Project, ada: User, sam: User) -> None:
    large = grant(project, sam)
    draw(large, 95)
    assert notices(ada) == ["low"]
    grant(project, sam, 5)
    assert notices(ada) == []
    # Neither is told again as one of them is used up, and the other's part of what is left grows.
    draw(large, 4)
    assert notices(ada) == []
    draw(large, 1)
    assert notices(ada) == []


def test_all_grants_count_together(project: Project, ada: User, sam: User) -> None:
    first, second = grant(project, sam, days=60), grant(project, sam)
    draw(first, 100)
    assert notices(ada) == []
    draw(second, 60)
    assert notices(ada) == ["low"]
    draw(second, 40)
    assert notices(ada) == ["low", "used_up"]


def test_of_the_prepaid_calls_are_refused(project: Project, ada: User, sam: User) -> None:
    prepaid(project)
    draw(grant(project, sam), 100)
    assert notices(ada) == ["prepaid_used_up"]
    [sentence] = sentences(ada)
    assert sentence == (
        "$0 is left of the credits of the organization “Personal”. Calls that could cost more are refused until the "
        "operator of this portal grants more."
    )
    with translation.override("zh-hans"):
        assert sentences(ada) == ["组织“Personal”的赠金剩余$0。在本站运营者再次赠予之前，费用可能更高的调用会被拒绝。"]


def refuse(project: Project, code: str) -> None:
    add_call(project, timezone.now(), status=429, error_code=code)


def test_so_they_are_where_too_little_is_left_for_a_call(project: Project, ada: User, sam: User) -> None:
    prepaid(project)
    draw(grant(project, sam), 99)
    assert notices(ada) == ["low"]
    refuse(project, "organization_daily_budget")
    assert notices(ada) == ["low"]
    refuse(project, "organization_monthly_budget")
    assert notices(ada) == ["low", "prepaid_used_up"]
    assert notices(ada) == ["low", "prepaid_used_up"]


@pytest.mark.parametrize("why", ["much is left", "budgets pay", "it was before the grant"])
def test_a_refusal_is_not_always_for_want_of_credits(why: str, project: Project, ada: User, sam: User) -> None:
    if why != "budgets pay":
        prepaid(project)
    if why == "it was before the grant":
        refuse(project, "organization_monthly_budget")
    draw(grant(project, sam), 89 if why == "much is left" else 99)
    if why != "it was before the grant":
        refuse(project, "organization_monthly_budget")
    assert notices(ada) == ["low"]


# The budget that pays after them --------------------------------------------------------------------------------------


def budget_told(project: Project, ada: User, *, spent: float, left: float, refused: bool) -> list[str]:
    """What is told of a budget of $5 a month of which so much is spent, while so much of credits is left."""
    organization = project.organization
    Organization.objects.filter(pk=organization.pk).update(monthly_budget_nano=5 * NANO)
    draw(grant(project, ada), 100 - left)
    if refused:
        refuse(project, "organization_monthly_budget")
    spend(int(spent * NANO), "organization", organization.public_id, project)
    return budget_alerts(ada)


AFTER_CREDITS = "the organization “Personal” for what its credits do not cover"


@pytest.mark.parametrize(
    ("spent", "left", "refused", "words"),
    [
        (4.9, 2.5, True, f"At least 80% of the monthly budget of {AFTER_CREDITS} is used: $4.90"),
        (5, 2.5, False, f"At least 80% of the monthly budget of {AFTER_CREDITS} is used: $5.00"),
        (4.9, 0.3, False, f"At least 80% of the monthly budget of {AFTER_CREDITS} is used: $4.90"),
        (4.9, 0.3, True, f"The monthly budget of {AFTER_CREDITS} is nearly used up: $4.90 of $5.00. Calls"),
        (5, 0.3, True, f"The monthly budget of {AFTER_CREDITS} is nearly used up: $5.00 of $5.00. Calls"),
        (5, 0, False, "The monthly budget of the organization “Personal” is used up: $5.00 of $5.00. Calls"),
        (4, 0, False, "At least 80% of the monthly budget of the organization “Personal” is used: $4.00"),
    ],
)
def test_a_budget_is_not_used_up_while_credits_pay(
    spent: float, left: float, refused: bool, words: str, project: Project, ada: User
) -> None:
    [sentence] = budget_told(project, ada, spent=spent, left=left, refused=refused)
    assert sentence.startswith(words)
    if "nearly" in words:
        both = {4.9: "$0.40", 5: "$0.30"}[spent]
        assert f"Calls that could cost more than what is left ({both}) are refused until it starts anew on" in sentence


def test_once_credits_have_run_out_it_is_used_up(project: Project, ada: User) -> None:
    assert len(budget_told(project, ada, spent=5, left=2, refused=True)) == 1
    draw(CreditGrant.objects.get(), 2)
    assert "is used up" in budget_alerts(ada)[1]


def test_credits_of_others_and_those_that_ended_pay_nothing(project: Project, ada: User, cyd: User) -> None:
    another = Project.objects.for_member(cyd)[0]
    grant(another, cyd)
    draw(ending(project, days=-0.1), 5)
    [sentence] = budget_told(project, ada, spent=5, left=0, refused=False)
    assert sentence.startswith("The monthly budget of the organization “Personal” is used up")


def test_a_project_s_budget_is_used_up_whoever_pays(project: Project, ada: User) -> None:
    Project.objects.filter(pk=project.pk).update(monthly_budget_nano=5 * NANO)
    spend(5 * NANO, "project", project.public_id, project)
    _of_the_organization, sentence = budget_told(project, ada, spent=5, left=50, refused=False)
    assert sentence.startswith("The monthly budget of the project “First project” is used up: $5.00 of $5.00.")


# Those that end -------------------------------------------------------------------------------------------------------


def ending(project: Project, *, days: float, given_days_ago: float = 30, dollars: int = 100) -> CreditGrant:
    now = timezone.now()
    return CreditGrant.objects.create(
        organization_id=project.organization.public_id,
        amount_nano=dollars * NANO,
        at_hand_nano=dollars * NANO,
        reason="A pilot",
        granted_by="sam",
        at=now - timedelta(days=given_days_ago),
        expires_at=(now + timedelta(days=days)).replace(microsecond=0),
    )


def test_a_grant_with_something_left_ends_soon(project: Project, ada: User) -> None:
    """Whether or not anybody calls. It ends with a day, which is told, and not the midnight after it."""
    create_endpoint(
        organization=project.organization, url="https://example.com", description="", event_types=[], by=ada
    )
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    given = ending(project, days=(today + timedelta(days=6) - timezone.now()) / timedelta(days=1))
    assert notices(ada) == ["ends_soon"]
    forget_alerts()
    assert notices(ada) == ["ends_soon"]
    assert given.expires_at is not None
    [sentence] = sentences(ada)
    last_day = f"{today + timedelta(days=5):%Y-%m-%d} (UTC)"
    assert sentence == (
        f"Credits of the organization “Personal” end on {last_day}. $100.00 of $100.00 is not used yet, and is lost "
        "then."
    )
    data = Message.objects.get().data
    assert (data["notice"], data["grant_id"]) == ("ends_soon", given.public_id)
    assert data["ends_at"] == given.expires_at.isoformat(timespec="seconds")


def test_that_it_ends_is_told_besides_how_much_is_left(project: Project, ada: User) -> None:
    given = ending(project, days=3)
    draw(given, 90)
    assert sorted(notices(ada)) == ["ends_soon", "low"]
    draw(given, 10)
    assert sorted(notices(ada)) == ["ends_soon", "low", "used_up"]


@pytest.mark.parametrize("state", ["used up", "over", "of later", "just granted", "revoked"])
def test_that_it_ends_is_no_news(state: str, project: Project, ada: User, sam: User) -> None:
    match state:
        case "used up":
            draw(ending(project, days=3), 100)
        case "over":
            ending(project, days=-0.1)
        case "of later":
            ending(project, days=7.1)
        case "just granted":
            ending(project, days=5, given_days_ago=4)
        case "revoked":
            revoke_grant(grant=ending(project, days=3), reason="Mistaken", by=sam)
    Notification.objects.filter(kind="usage.credits_revoked").delete()
    assert "ends_soon" not in notices(ada)


def test_once_the_last_have_ended_none_are_left(project: Project, ada: User) -> None:
    prepaid(project)
    draw(ending(project, days=-0.1), 50)
    assert notices(ada) == ["prepaid_used_up"]
    assert notices(ada) == ["prepaid_used_up"]


# What is not told, and to whom ----------------------------------------------------------------------------------------


def test_what_was_revoked_is_not_counted(project: Project, ada: User, sam: User) -> None:
    before, mistaken = grant(project, sam, 10), grant(project, sam, 1000)
    draw(before, 1)
    revoke_grant(grant=mistaken, reason="Mistaken", by=sam)
    assert notices(ada) == []
    draw(before, 7)
    assert notices(ada) == ["low"]
    revoke_grant(grant=before, reason="Mistaken", by=sam)
    assert notices(ada) == ["low"]


def test_of_credits_not_in_use_nothing_is_told(project: Project, ada: User, sam: User) -> None:
    draw(grant(project, sam), 100)
    UsageOrganizationDay.objects.update(updated_at=timezone.now() - timedelta(hours=2))
    assert notices(ada) == []


def test_grants_of_an_organization_that_is_gone_are_told_to_nobody(project: Project) -> None:
    given = ending(project, days=3)
    draw(given, 100)
    Organization.objects.filter(pk=project.organization.pk).update(public_id="org_another")
    look_at_credits()
    assert not BudgetAlert.objects.exists()


def test_who_manages_the_organization_is_told(project: Project, ada: User, ben: User, cyd: User, sam: User) -> None:
    for name, role in {"amy": Role.ADMIN, "bob": Role.BILLING, "vic": Role.VIEWER}.items():
        user = User.objects.create_user(f"{name}@example.com", name=name)
        Membership.objects.create(organization=project.organization, user=user, role=role)
    draw(grant(project, sam), 100)
    look_at_credits()
    hearers = Notification.objects.filter(group="credits").values_list("recipient__email", flat=True)
    assert sorted(hearers) == [ada.email, "amy@example.com"]


def test_it_costs_as_many_queries_for_many_as_for_few(
    project: Project, sam: User, django_assert_num_queries: Any
) -> None:
    for _grant in range(5):
        ending(project, days=3)
    draw(grant(project, sam), 100)
    look_at_credits()
    # The organizations in use, their grants, those that end soon, what was told.
    with django_assert_num_queries(4):
        look_at_credits()

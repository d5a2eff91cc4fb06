"""People and programs are told that a budget nears its end: who, when, and in which words."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import mail
from django.db.models import Model
from django.utils import timezone, translation

from accounts.cohorts.services import create_cohort
from accounts.invitations.links import join
from accounts.limits.services import change_member_limits, change_organization_limits, change_project_limits
from accounts.models import Membership, Project, User
from accounts.projects.services import open_service_account, set_place
from accounts.roles import ProjectRole, Role
from apikeys.models import ApiKey, KeyKind
from catalog.models import HostedModel
from common import redis as servers
from common.limits import NO_LIMITS
from notifications.models import Notification
from notifications.services import send_waiting, set_mail
from notifications.texts import tell
from portal.celery import app
from tests.usage.ledger import a_key, add_call
from usage.counters import Counter, base_of
from usage.models import BudgetAlert, UsageOrganizationDay
from usage.nearing import forget_alerts, look_at_budgets
from usage.periods import periods_at
from usage.policies import Scope
from usage.tasks import look_at_budgets as look_at_budgets_task
from webhooks.models import Message
from webhooks.services import create_endpoint

pytestmark = pytest.mark.django_db

DOLLAR = 1_000_000_000


@pytest.fixture
def key(project: Project, ada: User) -> ApiKey:
    """Ada's key with a budget of $5 a month, of which nothing is used yet."""
    return a_key(project, created_by=ada, last_used_at=timezone.now(), monthly_budget_nano=5 * DOLLAR)


def counter(kind: str, id_: str, project: Project, span: str = "month") -> str:
    organization = project.organization
    period = getattr(periods_at(timezone.now(), organization.time_zone), span)
    return base_of(organization.public_id) + Counter(Scope(kind, id_, NO_LIMITS), period, None).name


def spend(nano: int, kind: str, id_: str, project: Project, *, span: str = "month", **fields: Any) -> None:
    """Have Redis know that so much of a budget is used, and PostgreSQL that the organization made calls."""
    born = int(timezone.now().timestamp()) - 60
    name = counter(kind, id_, project, span)
    servers.durable().hset(name, mapping={"spent": nano, "held": 0, "born": born, **fields})
    servers.durable().expire(name, 60)
    today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    UsageOrganizationDay.objects.update_or_create(
        bucket_at=today, organization_id=project.organization.public_id, defaults={"updated_at": timezone.now()}
    )


def spend_of(key: ApiKey, nano: int, **fields: Any) -> None:
    assert key.project is not None
    spend(nano, "key", key.public_id, key.project, **fields)


def told(person: User) -> list[str]:
    """What somebody reads of it, oldest first."""
    look_at_budgets()
    rows = list(Notification.objects.filter(recipient=person, group="budget").order_by("pk"))
    return [one.text for one in tell(person, rows)]


def percents(person: User) -> list[int]:
    look_at_budgets()
    rows = Notification.objects.filter(recipient=person, group="budget").order_by("pk")
    return [int(row.events[0]["facts"]["percent"]) for row in rows]


def change(limited: Model, **fields: Any) -> None:
    type(limited)._default_manager.filter(pk=limited.pk).update(**fields)


def test_it_works(key: ApiKey, project: Project, ada: User, settings: LazySettings) -> None:
    create_endpoint(
        organization=project.organization, url="https://example.com", description="", event_types=[], by=ada
    )
    spend_of(key, 4_010_000_000)
    ends_at = periods_at(timezone.now(), "UTC").month.ends_at
    sentence = (
        "At least 80% of the monthly budget of the key “Laptop” is used: $4.01 of $5.00. "
        f"It starts anew on {ends_at:%Y-%m-%d} (UTC)."
    )
    assert told(ada) == [sentence]
    page = f"/usage/?project={project.public_id}&window=30d&key={key.public_id}"
    assert Notification.objects.get().url == page
    send_waiting()
    [message] = mail.outbox
    assert message.to == [ada.email]
    assert message.subject == sentence
    assert f"{settings.PUBLIC_URL}{page}" in message.body
    announced = Message.objects.get()
    assert announced.event_type == "budget.alert"
    assert announced.data == {
        "budget": "key",
        "id": key.public_id,
        "project_id": project.public_id,
        "span": "monthly",
        "percent": 80,
        "used_nano_dollars": 4_010_000_000,
        "limit_nano_dollars": 5 * DOLLAR,
        "resets_at": ends_at.isoformat(timespec="seconds"),
        "url": settings.PUBLIC_URL + page,
    }


def test_each_percentage_is_told_once(key: ApiKey, ada: User) -> None:
    spend_of(key, 4 * DOLLAR)
    assert percents(ada) == [80]
    spend_of(key, 4 * DOLLAR + 1)
    assert percents(ada) == [80]
    spend_of(key, 5 * DOLLAR)
    assert percents(ada) == [80, 100]
    assert percents(ada) == [80, 100]


def test_each_is_mailed_though_the_one_before_was_not_read(key: ApiKey, ada: User) -> None:
    for spent in (4, 5):
        spend_of(key, spent * DOLLAR)
        look_at_budgets()
        send_waiting()
    assert [message.subject[:18] for message in mail.outbox] == ["At least 80% of th", "The monthly budget"]


def test_of_several_passed_at_once_the_highest_is_told(key: ApiKey, ada: User) -> None:
    change(key, alert_percents=[10, 50, 80, 100])
    spend_of(key, 3 * DOLLAR)
    assert percents(ada) == [50]
    spend_of(key, 5 * DOLLAR)
    assert percents(ada) == [50, 100]
    # What lies below what was told is no news, whatever is chosen later.
    change(key, alert_percents=[10, 20])
    assert percents(ada) == [50, 100]


def test_before_a_percentage_is_reached_nothing_is_told(key: ApiKey, ada: User) -> None:
    spend_of(key, 4 * DOLLAR - 1)
    assert percents(ada) == []


def test_none_are_told_where_none_are_chosen(key: ApiKey, ada: User) -> None:
    change(key, alert_percents=[])
    spend_of(key, 5 * DOLLAR)
    assert percents(ada) == []


def test_a_budget_of_nothing_is_not_nearly_used(key: ApiKey, ada: User) -> None:
    change(key, monthly_budget_nano=0)
    spend_of(key, 0)
    assert percents(ada) == []


def test_who_wants_no_mail_reads_it_in_the_site(key: ApiKey, ada: User) -> None:
    set_mail(user=ada, wants_mail=False)
    spend_of(key, 4 * DOLLAR)
    assert percents(ada) == [80]
    send_waiting()
    assert mail.outbox == []


def test_a_new_day_tells_again(key: ApiKey, project: Project, ada: User) -> None:
    change(key, monthly_budget_nano=None, daily_budget_nano=5 * DOLLAR)
    spend_of(key, 4 * DOLLAR, span="day")
    assert percents(ada) == [80]
    # Where the organization's days begin at another hour, another one has begun.
    change(project.organization, time_zone="Asia/Kathmandu")
    project.organization.refresh_from_db()
    assert percents(ada) == [80]
    spend(4 * DOLLAR, "key", key.public_id, project, span="day")
    assert percents(ada) == [80, 80]
    assert "(Asia/Kathmandu)" in told(ada)[1]


def test_a_raised_budget_tells_anew_what_it_comes_to_again(key: ApiKey, ada: User) -> None:
    spend_of(key, 4 * DOLLAR)
    assert percents(ada) == [80]
    change(key, monthly_budget_nano=10 * DOLLAR)
    assert percents(ada) == [80]
    spend_of(key, 8 * DOLLAR)
    assert percents(ada) == [80, 80]
    assert "$8.00 of $10.00" in told(ada)[1]
    assert percents(ada) == [80, 80]


def test_a_changed_budget_is_silent_about_what_it_was_past_already(key: ApiKey, ada: User) -> None:
    spend_of(key, 4_500_000_000)
    assert percents(ada) == [80]
    for dollars in (5.5, 4.6):
        change(key, monthly_budget_nano=int(dollars * DOLLAR))
        assert percents(ada) == [80]


def test_a_budget_that_goes_up_and_down_tells_nothing_twice(key: ApiKey, ada: User) -> None:
    def look_at(*limits: int) -> list[int]:
        for dollars in limits:
            change(key, monthly_budget_nano=dollars * DOLLAR)
            look_at_budgets()
        return percents(ada)

    spend_of(key, 5 * DOLLAR)
    assert look_at(5) == [100]
    spend_of(key, 8 * DOLLAR)
    assert look_at(10) == [100, 80]
    assert look_at(5, 10, 5, 20, 10) == [100, 80]
    # More than was used when it was told that all of it is: that was not told yet.
    assert look_at(7, 10, 7, 20) == [100, 80, 100]
    spend_of(key, 16 * DOLLAR)
    assert look_at(20) == [100, 80, 100, 80]
    assert look_at(7, 20, 8, 10, 5, 20) == [100, 80, 100, 80, 100]


def test_a_smaller_budget_tells_nothing_that_a_larger_one_told(key: ApiKey, ada: User) -> None:
    change(key, alert_percents=[100])
    refuse(key, timezone.now())
    spend_of(key, 4_700_000_000)
    assert percents(ada) == [100]
    # As much was not used yet, but this was told of more.
    change(key, monthly_budget_nano=4_900_000_000)
    assert percents(ada) == [100]


def test_a_counter_that_is_filled_anew_tells_nothing_again(key: ApiKey, ada: User) -> None:
    spend_of(key, 4 * DOLLAR)
    assert percents(ada) == [80]
    spend_of(key, 0)
    assert percents(ada) == [80]
    spend_of(key, 4 * DOLLAR)
    assert percents(ada) == [80]


@pytest.mark.parametrize("state", ["unknown", "being counted"])
def test_what_redis_does_not_know_is_not_guessed(state: str, key: ApiKey, project: Project, ada: User) -> None:
    spend_of(key, 5 * DOLLAR)
    if state == "unknown":
        servers.durable().delete(counter("key", key.public_id, project))
    else:
        spend_of(key, 5 * DOLLAR, seeding=1)
    assert percents(ada) == []


def test_of_what_is_not_in_use_nothing_is_read(key: ApiKey, ada: User) -> None:
    spend_of(key, 5 * DOLLAR)
    UsageOrganizationDay.objects.update(updated_at=timezone.now() - timedelta(hours=2))
    assert percents(ada) == []


def refuse(key: ApiKey, at: datetime) -> None:
    assert key.project is not None
    add_call(key.project, at, key=key, status=429, error_code="key_monthly_budget")


def test_it_is_nearly_used_up_once_calls_are_refused_for_too_little_is_left(key: ApiKey, ada: User) -> None:
    change(key, alert_percents=[100])
    refuse(key, timezone.now())
    spend_of(key, 4 * DOLLAR)
    assert percents(ada) == []
    spend_of(key, 4_990_000_000)
    [sentence] = told(ada)
    assert sentence.startswith(
        "The monthly budget of the key “Laptop” is nearly used up: $4.99 of $5.00. Calls that could cost more than "
        "what is left ($0.01) are refused until it starts anew on "
    )
    spend_of(key, 5 * DOLLAR)
    assert percents(ada) == [100]


def test_it_is_used_up_once_nothing_is_left(key: ApiKey, ada: User) -> None:
    refuse(key, timezone.now())
    # What transcripts come to may be more than what was left.
    spend_of(key, 5_010_000_000)
    [sentence] = told(ada)
    assert sentence.startswith(
        "The monthly budget of the key “Laptop” is used up: $5.01 of $5.00. Calls that cost money are refused until it "
    )


def test_it_is_not_used_up_while_calls_go_through(key: ApiKey, project: Project, ada: User) -> None:
    change(key, alert_percents=[100])
    spend_of(key, 4_990_000_000)
    other = a_key(project)
    refuse(other, timezone.now())
    add_call(project, timezone.now(), key=key, status=429, error_code="rate_limit_exceeded")
    # Before the counter began, the budget was another one.
    refuse(key, timezone.now() - timedelta(minutes=2))
    assert percents(ada) == []


# Who is told ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def people(project: Project, ada: User, ben: User, cyd: User, sam: User) -> dict[str, User]:
    """Beside Ada, who owns, and Ben, a member: an admin of the organization, one of the project, and who looks on."""
    cast = {"ada": ada, "ben": ben, "cyd": cyd, "sam": sam}
    for name, role in {"amy": Role.ADMIN, "pat": Role.MEMBER, "vic": Role.VIEWER, "bob": Role.BILLING}.items():
        cast[name] = User.objects.create_user(f"{name}@example.com", name=name.title())
        Membership.objects.create(organization=project.organization, user=cast[name], role=role)
    place = Membership.objects.get(organization=project.organization, user=cast["pat"])
    set_place(project=project, membership=place, role=ProjectRole.ADMIN, by=ada)
    User.objects.filter(pk=cast["amy"].pk).update(language="zh-hans")
    return cast


def hearers(people: dict[str, User]) -> set[str]:
    look_at_budgets()
    names = {person.pk: name for name, person in people.items()}
    return {names[pk] for pk in Notification.objects.filter(group="budget").values_list("recipient", flat=True)}


def test_of_an_organization_s_budget_who_manages_it_is_told(project: Project, people: dict[str, User]) -> None:
    organization = project.organization
    change_organization_limits(organization=organization, changes={"weekly_budget_nano": DOLLAR}, by=people["ada"])
    spend(DOLLAR, "organization", organization.public_id, project, span="week")
    assert hearers(people) == {"ada", "amy"}
    row = Notification.objects.get(recipient=people["amy"])
    assert row.url == f"/usage/?project={project.public_id}&window=7d&scope=organization"
    with translation.override("zh-hans"):
        [one] = tell(people["amy"], [row])
    assert one.text.startswith("组织“Personal”的每周预算已用完：共$1.00，已用$1.00。")


def test_of_a_project_s_budget_who_manages_it_is_told(project: Project, people: dict[str, User]) -> None:
    change_project_limits(project=project, changes={"daily_budget_nano": DOLLAR}, by=people["ada"])
    spend(DOLLAR, "project", project.public_id, project, span="day")
    assert hearers(people) == {"ada", "amy", "pat"}
    assert Notification.objects.get(recipient=people["pat"]).url == f"/usage/?project={project.public_id}&window=today"


def test_of_a_member_s_budget_the_member_and_who_manages_members_are_told(
    project: Project, people: dict[str, User]
) -> None:
    ben, organization = people["ben"], project.organization
    place = Membership.objects.select_related("organization", "user").get(organization=organization, user=ben)
    change_member_limits(membership=place, changes={"monthly_budget_nano": DOLLAR}, by=people["ada"])
    spend(DOLLAR, "member", f"{organization.public_id}.{ben.public_id}", project)
    assert hearers(people) == {"ben", "ada", "amy"}
    assert told(ben)[0].startswith("The monthly budget of your membership in the organization “")
    assert told(people["ada"])[0].startswith("The monthly budget of Ben in the organization “")
    [row] = Notification.objects.filter(recipient=ben)
    assert row.url.endswith(f"&window=30d&scope=organization&member={ben.public_id}")


def test_of_the_budget_of_a_participant_that_one_is_told(project: Project, people: dict[str, User]) -> None:
    cohort = create_cohort(
        organization=project.organization,
        name="Compilers",
        ends_at=timezone.now() + timedelta(days=7),
        most_joins=30,
        limits={"monthly_budget_nano": 3 * DOLLAR, "alert_percents": [50]},
        by=people["ada"],
    )
    for name in ("ben", "cyd"):
        join(link=cohort.join_link, user=people[name])
    spend(2 * DOLLAR, "participant", f"{cohort.project.public_id}.{people['cyd'].public_id}", project)
    assert hearers(people) == {"cyd"}
    assert told(people["cyd"])[0].startswith(
        "At least 50% of the monthly budget of your place in the cohort “Compilers” is used:"
    )
    assert Notification.objects.get(group="budget").url == f"/usage/?project={cohort.project.public_id}&window=30d"


def test_of_a_key_s_budget_its_maker_is_told(key: ApiKey, people: dict[str, User]) -> None:
    change(key, created_by=people["ben"])
    spend_of(key, 5 * DOLLAR)
    assert hearers(people) == {"ben"}


@pytest.mark.parametrize("lost", ["the organization", "the project", "the account"])
def test_who_made_a_key_and_may_see_to_it_no_more_is_not_told(
    lost: str, key: ApiKey, project: Project, people: dict[str, User]
) -> None:
    ben = people["ben"]
    change(key, created_by=ben)
    if lost == "the organization":
        Membership.objects.filter(user=ben, organization=project.organization).delete()
    elif lost == "the project":
        change(project, is_open=False)
    else:
        change(ben, is_active=False)
    spend_of(key, 5 * DOLLAR)
    assert hearers(people) == {"ada", "amy", "pat"}


def test_of_the_key_of_a_program_who_manages_the_keys_is_told(project: Project, people: dict[str, User]) -> None:
    account = open_service_account(project=project, name="ci", by=people["ada"])
    key = a_key(
        project,
        kind=KeyKind.SERVICE,
        service_account=account,
        created_by=people["ben"],
        last_used_at=timezone.now(),
        daily_budget_nano=DOLLAR,
    )
    spend_of(key, DOLLAR, span="day")
    assert hearers(people) == {"ada", "amy", "pat"}


def test_of_a_model_s_budget_staff_are_told(project: Project, people: dict[str, User], ada: User) -> None:
    create_endpoint(
        organization=project.organization, url="https://example.com", description="", event_types=[], by=ada
    )
    HostedModel.objects.create(public_name="qwen/8b", monthly_budget_nano=DOLLAR)
    spend(DOLLAR, "model", "qwen/8b", project)
    assert hearers(people) == {"sam"}
    assert "for the model “qwen/8b” is used up" in told(people["sam"])[0]
    assert Notification.objects.get(group="budget").url == "/backends/limits/qwen/8b/"
    data = Message.objects.get().data
    assert (data["budget"], data["id"], data["project_id"]) == ("model", "qwen/8b", None)
    assert data["url"].endswith(f"/usage/?project={project.public_id}&window=30d&scope=organization&model=qwen%2F8b")


def test_programs_of_others_are_not_told(key: ApiKey, cyd: User) -> None:
    home = Project.objects.for_member(cyd)[0].organization
    create_endpoint(organization=home, url="https://example.com", description="", event_types=[], by=cyd)
    spend_of(key, 5 * DOLLAR)
    look_at_budgets()
    assert not Message.objects.exists()


# What it changes, and costs -------------------------------------------------------------------------------------------


def test_it_is_looked_at_every_minute_and_holds_up_nobody_who_counts() -> None:
    entry = app.conf.beat_schedule["usage-look-at-budgets"]
    assert (entry["task"], entry["schedule"]) == (look_at_budgets_task.name, 60)
    assert app.amqp.router.route({}, entry["task"])["queue"].name == "default"


def test_calls_are_not_counted_anew_when_other_percentages_are_chosen(
    project: Project, ada: User, django_capture_on_commit_callbacks: Any
) -> None:
    for changes, is_known in (({"alert_percents": [50]}, True), ({"monthly_budget_nano": DOLLAR}, False)):
        spend(DOLLAR, "project", project.public_id, project)
        with django_capture_on_commit_callbacks(execute=True):
            change_project_limits(project=project, changes=changes, by=ada)
        assert bool(servers.durable().exists(counter("project", project.public_id, project))) is is_known


def test_it_costs_as_many_queries_for_many_as_for_few(
    project: Project, ada: User, django_assert_num_queries: Any
) -> None:
    keys: Sequence[ApiKey] = [
        a_key(project, created_by=ada, last_used_at=timezone.now(), monthly_budget_nano=5 * DOLLAR)
        for _key in range(20)
    ]
    for key in keys:
        spend_of(key, 4 * DOLLAR)
    look_at_budgets()
    # The organizations in use; budgets of organizations, plans, projects, members, participants, keys and models; what
    # was told.
    with django_assert_num_queries(9):
        look_at_budgets()


def test_what_was_told_is_forgotten_with_its_period(key: ApiKey, ada: User) -> None:
    spend_of(key, 4 * DOLLAR)
    assert percents(ada) == [80]
    forget_alerts()
    assert BudgetAlert.objects.count() == 1
    BudgetAlert.objects.update(ends_at=timezone.now())
    forget_alerts()
    assert BudgetAlert.objects.count() == 0

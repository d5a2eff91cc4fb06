"""The pages on which staff make plans and organizations choose one, and what is kept of it."""

import re
from functools import partial
from threading import Thread
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts.errors import RefusedError
from accounts.holding import HOLDING
from accounts.models import AuditEvent, Organization, Plan, PlanChange, Project, User
from accounts.organizations.services import create_organization
from accounts.plans.services import assign_plan, change_plan, choose_plan, make_plan
from apikeys.services import mint_key
from apikeys.terms import Terms
from catalog.models import Backend, Deployment, HostedModel
from tests.conftest import person
from tests.races import at_once, wait_until_somebody_waits
from tests.usage.ledger import add_usage

pytestmark = pytest.mark.django_db
MILLION = 1_000_000


@pytest.fixture
def models(db: None) -> list[HostedModel]:
    backend = Backend.objects.create(name="gpu", base_url="http://127.0.0.1:9/v1")
    made = [
        HostedModel.objects.create(
            public_name=name, input_price_nano=MILLION * price, output_price_nano=MILLION * price
        )
        for name, price in (("lab/large", 700), ("small", 300))
    ]
    for model in made:
        Deployment.objects.create(hosted_model=model, backend=backend, backend_name=model.public_name)
    return made


def plan(sam: User, name: str = "Starter", **values: Any) -> Plan:
    return make_plan(changes={"name": name, **values}, by=sam)


def page_of(organization: Organization, chosen: Plan | None = None) -> str:
    return f"/organizations/{organization.public_id}/plan/" + (f"{chosen.public_id}/" if chosen else "")


def test_it_works(sam_client: Client, ada_client: Client, project: Project, models: list[HostedModel]) -> None:
    answers = {
        "name": "Starter", "description": "To try the portal.", "position": "1", "is_open": "on",
        "requests_per_day": "1000", "monthly_budget_nano": "20", "allowed_models": ["lab/large"],
        "input:lab/large": "0.05", "output:lab/large": "0.2",
    }  # fmt: skip
    assert sam_client.post("/plans/new/", answers).status_code == 302
    made = Plan.objects.get()
    assert (made.requests_per_day, made.monthly_budget_nano) == (1000, 20_000_000_000)
    assert made.allowed_models == ["lab/large"]
    assert made.prices == {"lab/large": [50 * MILLION, 200 * MILLION]}

    offered = ada_client.get(page_of(project.organization)).content.decode()
    for shown in ("Starter", "To try the portal.", "1,000", "$20.00", "lab/large", "$0.05", "No plan"):
        assert shown in offered
    confirming = ada_client.get(page_of(project.organization, made)).content.decode()
    assert f'value="{made.mark}"' in confirming
    for changed in ("1,000", "$20.00", "lab/large", "$0.05", "No limit", "Not in the plan"):
        assert changed in confirming
    assert ada_client.post(page_of(project.organization, made), {"mark": made.mark}).status_code == 302
    assert "Your plan" in ada_client.get(page_of(project.organization)).content.decode()
    limits = ada_client.get(f"/organizations/{project.organization.public_id}/limits/").content.decode()
    assert "The plan “Starter” allows 1,000. The smaller of both holds." in limits


def test_members_see_which_plan_holds_and_choose_none(
    ben_client: Client, project: Project, sam: User, models: list[HostedModel]
) -> None:
    current, other = plan(sam, is_open=True), plan(sam, "Team", is_open=True)
    assign_plan(organization=project.organization, plan=current, by=sam)
    shown = ben_client.get(page_of(project.organization)).content.decode()
    assert "Starter" in shown
    assert "Team" not in shown
    assert "History" not in shown
    assert ben_client.post(page_of(project.organization, other), {"mark": other.mark}).status_code == 403


def test_what_would_be_refused_is_said_before(
    ada: User, ada_client: Client, project: Project, sam: User, models: list[HostedModel]
) -> None:
    key, _secret = mint_key(project=project, name="nightly", by=ada, terms=Terms(allowed_models=("small",)))
    mint_key(project=project, name="laptop", by=ada)
    mint_key(project=project, name="large", by=ada, terms=Terms(allowed_models=("lab/large",)))
    add_usage(project, timezone.now(), key=key, model="small", requests=3, latency_ms_sum=30)
    narrow = plan(sam, is_open=True, allowed_models=["lab/large"], requests_per_day=2)
    shown = ada_client.get(page_of(project.organization, narrow)).content.decode()
    assert "Some of what works today would be refused" in shown
    assert "Requests per day: 3 are used already, and the plan allows 2." in shown
    assert "not in the plan:" in shown
    assert "nightly" in shown
    assert "laptop" not in shown
    wide = plan(sam, "Wide", is_open=True, requests_per_day=4)
    assert "would be refused" not in ada_client.get(page_of(project.organization, wide)).content.decode()


def test_what_staff_chose_is_not_for_owners_to_leave(
    ada: User, ada_client: Client, project: Project, sam: User, models: list[HostedModel]
) -> None:
    granted, other = plan(sam), plan(sam, "Team", is_open=True)
    assign_plan(organization=project.organization, plan=granted, by=sam)
    shown = ada_client.get(page_of(project.organization)).content.decode()
    assert "Ask them for another one." in shown
    assert "Team" not in shown
    answer = ada_client.post(page_of(project.organization, other), {"mark": other.mark})
    assert answer.status_code == 409
    project.organization.refresh_from_db()
    assert project.organization.plan == granted


@pytest.mark.parametrize("values", [{}, {"is_open": True, "is_archived": True}])
def test_a_plan_that_is_not_open_is_not_chosen(
    values: dict[str, Any], ada: User, ada_client: Client, project: Project, sam: User
) -> None:
    closed = plan(sam, **values)
    assert ada_client.post(page_of(project.organization, closed), {"mark": closed.mark}).status_code == 404
    with pytest.raises(RefusedError) as refused:
        choose_plan(organization=project.organization, plan=closed, by=ada)
    assert refused.value.code == "plan_not_open"


def test_a_plan_that_was_changed_meanwhile_is_shown_once_more(ada_client: Client, project: Project, sam: User) -> None:
    wanted = plan(sam, is_open=True, requests_per_day=1000)
    seen = wanted.mark
    change_plan(plan=wanted, changes={"requests_per_day": 10}, by=sam)
    answer = ada_client.post(page_of(project.organization, wanted), {"mark": seen})
    assert answer.status_code == 409
    shown = answer.content.decode()
    assert "The plan was changed while you looked at it." in shown
    wanted.refresh_from_db()
    assert ada_client.post(page_of(project.organization, wanted), {"mark": wanted.mark}).status_code == 302


def test_a_plan_with_many_organizations_leads_to_all_of_them(sam: User, sam_client: Client) -> None:
    made, other = plan(sam), plan(sam, "Team")
    for number in range(51):
        Organization.objects.create(name=f"Lab {number:02}", plan=made)
    User.objects.filter(pk=sam.pk).update(is_superuser=True)
    page = sam_client.get(f"/plans/{made.public_id}/").content.decode()
    [address] = re.findall(r'href="([^"]+)">All of them</a>', page)
    assert "Lab 50" not in page
    assert sam_client.get(address).context["cl"].result_count == 51
    assert "All of them" not in sam_client.get(f"/plans/{other.public_id}/").content.decode()


def test_nobody_is_put_on_an_archived_plan(sam: User, sam_client: Client, project: Project) -> None:
    old = plan(sam, is_archived=True)
    answer = sam_client.post(f"/plans/{old.public_id}/assign/", {"organization": project.organization.public_id})
    assert answer.status_code == 400
    project.organization.refresh_from_db()
    assert project.organization.plan is None


def test_staff_put_an_organization_on_a_plan_and_take_it_off(sam: User, sam_client: Client, project: Project) -> None:
    granted = plan(sam)
    where = f"/plans/{granted.public_id}/"
    named = {"organization": project.organization.public_id}
    assert sam_client.post(f"{where}assign/", {"organization": "org_nobody"}).status_code == 400
    assert sam_client.post(f"{where}assign/", named).status_code == 302
    assert project.organization.public_id in sam_client.get(where).content.decode()
    assert sam_client.post(f"{where}take-off/", named).status_code == 302
    assert sam_client.post(f"{where}take-off/", named).status_code == 404
    moves = PlanChange.objects.filter(organization=project.organization).order_by("at")
    assert [(move.before, move.after, move.by) for move in moves] == [
        ({"plan": None}, {"plan": "Starter"}, sam),
        ({"plan": "Starter"}, {"plan": None}, sam),
    ]
    assert AuditEvent.objects.filter(action="organization.plan_changed").count() == 2


def test_staff_read_what_would_change_for_an_organization(
    sam: User, ada: User, sam_client: Client, project: Project, models: list[HostedModel]
) -> None:
    narrow = plan(sam, allowed_models=["small"])
    key, _secret = mint_key(project=project, name="Large only", by=ada, terms=Terms(allowed_models=("lab/large",)))
    asked = {"organization": project.organization.public_id}
    page = sam_client.get(f"/plans/{narrow.public_id}/assign/", asked).content.decode()
    assert "Some of what works today would be refused" in page
    # Staff need not be let in to its keys.
    assert "Large only" in page
    assert key.public_id not in page
    project.organization.refresh_from_db()
    assert project.organization.plan is None


def test_nobody_is_asked_to_put_an_organization_where_it_is(sam: User, sam_client: Client, project: Project) -> None:
    granted = plan(sam)
    asked = {"organization": project.organization.public_id}
    assert "Put on this plan" in sam_client.get(f"/plans/{granted.public_id}/assign/", asked).content.decode()
    assign_plan(organization=project.organization, plan=granted, by=sam)
    page = sam_client.get(f"/plans/{granted.public_id}/assign/", asked).content.decode()
    assert "is on this plan already" in page
    assert "Put on this plan" not in page


def test_an_organization_is_named_where_no_other_has_its_name(sam: User, sam_client: Client, ada: User) -> None:
    granted = plan(sam)
    one = create_organization(name="Lab", by=ada).organization
    where = f"/plans/{granted.public_id}/assign/"
    assert sam_client.post(where, {"organization": "lab "}).status_code == 302
    # One whose name is another's id.
    create_organization(name=one.public_id, by=ada)
    assert sam_client.post(where, {"organization": one.public_id}).status_code == 302
    assert list(granted.organizations.all()) == [one]
    create_organization(name="LAB", by=ada)
    answer = sam_client.post(where, {"organization": "Lab"})
    assert answer.status_code == 400
    assert "Enter the id of the one you mean" in answer.content.decode()


def test_new_organizations_begin_on_the_plan_that_is_for_them(sam: User, ada: User) -> None:
    first, second = plan(sam, is_default=True), plan(sam, "Team", is_default=True)
    first.refresh_from_db()
    assert not first.is_default
    assert create_organization(name="Lab", by=ada).organization.plan == second
    begun = Organization.objects.for_member(person("Eve"))[0]
    assert begun.plan == second
    assert [change.after for change in PlanChange.objects.history_of(begun)] == [{"plan": "Team"}]


def test_so_do_those_that_staff_make_in_the_admin(sam: User, sam_client: Client) -> None:
    made = plan(sam, is_default=True)
    User.objects.filter(pk=sam.pk).update(is_superuser=True)
    places = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    fields = {"name": "By hand", "time_zone": "UTC", "alert_percents": "80", **places}
    assert sam_client.post("/admin/accounts/organization/add/", fields).status_code == 302
    assert Organization.objects.get(name="By hand").plan == made


def test_a_change_stands_in_the_history_with_who_and_what(sam: User, sam_client: Client) -> None:
    made = plan(sam, requests_per_day=5)
    fields = {"name": "Starter", "position": "0", "requests_per_day": "7"}
    assert sam_client.post(f"/plans/{made.public_id}/", fields).status_code == 302
    shown = sam_client.get(f"/plans/{made.public_id}/").content.decode()
    assert "<del>5</del> → <ins" in shown
    last = PlanChange.objects.history_of(made).latest("pk")
    assert (last.before, last.after, last.by) == ({"requests_per_day": 5}, {"requests_per_day": 7}, sam)
    assert AuditEvent.objects.get(action="plan.changed").after == {"requests_per_day": 7}


def test_a_long_history_is_leafed_through(sam: User, sam_client: Client, ada_client: Client, project: Project) -> None:
    """To its first entry, on the page of a plan and on that of an organization."""
    made = plan(sam)
    changes = [PlanChange(plan=made, by=sam, after={"position": number}) for number in range(30)]
    moves = [
        PlanChange(organization=project.organization, by=sam, after={"plan": f"P{number}"}) for number in range(30)
    ]
    PlanChange.objects.bulk_create([*changes, *moves])
    for client, address, first in (
        (sam_client, f"/plans/{made.public_id}/", "Starter</ins>"),
        (ada_client, page_of(project.organization), "P0</ins>"),
    ):
        shown = client.get(address)
        assert first not in shown.content.decode()
        assert "Older" in shown.content.decode()
        assert first in client.get(address, {"cursor": shown.context["page"].older}).content.decode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "starter"},
        {"requests_per_day": "0"},
        {"allowed_models": ["nobody"]},
        {"input:small": "1"},
        {"input:small": "-1", "output:small": "1"},
        {"is_archived": "on", "is_default": "on"},
    ],
)
def test_what_is_no_plan_is_refused(
    wrong: dict[str, Any], sam: User, sam_client: Client, models: list[HostedModel]
) -> None:
    plan(sam)
    assert sam_client.post("/plans/new/", {"name": "Team", "position": "0", **wrong}).status_code == 400
    assert Plan.objects.count() == 1


@pytest.mark.parametrize(
    ("theirs", "mine", "words"),
    [
        ({"is_default": True}, {"is_archived": "on"}, "New organizations begin on it."),
        ({"is_archived": True}, {"is_default": "on"}, "Somebody else archived this plan"),
    ],
)
def test_a_plan_is_not_archived_and_for_new_organizations_by_two_together(
    theirs: dict[str, Any], mine: dict[str, Any], words: str, sam: User, sam_client: Client
) -> None:
    made = plan(sam)
    fields = {"name": "Starter", "position": "0", "shown": shown_in(sam_client.get(f"/plans/{made.public_id}/"))}
    change_plan(plan=made, changes=theirs, by=sam)
    response = sam_client.post(f"/plans/{made.public_id}/", {**fields, **mine})
    assert response.status_code == 400
    assert words in response.content.decode()
    made.refresh_from_db()
    assert made.is_archived != made.is_default


@pytest.mark.django_db(transaction=True)
def test_of_two_who_archive_it_and_have_new_ones_begin_on_it_at_once_one_is_told(sam: User) -> None:
    made = plan(sam)
    answers = race_of(f"/plans/{made.public_id}/", sam, {"is_archived": "on"}, {"is_default": "on"}, name="Starter")
    assert answers == [302, 400]
    made.refresh_from_db()
    assert made.is_archived != made.is_default


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("has_one", [False, True])
def test_of_two_new_plans_for_new_organizations_at_once_one_is_that(has_one: bool, sam: User) -> None:
    if has_one:
        plan(sam, is_default=True)
    answers = race_of("/plans/new/", sam, {"name": "One"}, {"name": "Two"}, is_default="on")
    assert answers in ([302, 302], [302, 400])
    assert Plan.objects.filter(is_default=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_new_plans_of_one_name_at_once_one_is_made(sam: User) -> None:
    assert race_of("/plans/new/", sam, {}, {}, name="Team") == [302, 400]
    assert Plan.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_who_waited_for_another_reads_that_there_is_a_plan_for_new_ones_now(sam: User, sam_client: Client) -> None:
    """Theirs is made while ours waits for what both change."""
    pages: list[str] = []

    def make_mine() -> None:
        wanted = {"name": "Mine", "position": "0", "is_default": "on"}
        pages.append(sam_client.post("/plans/new/", wanted).content.decode())

    thread = Thread(target=make_mine)
    with transaction.atomic():
        plan(sam, "Theirs", is_default=True)
        thread.start()
        wait_until_somebody_waits()
    thread.join()
    assert "Somebody else chose a plan for new organizations" in pages[0]
    assert Plan.objects.get().name == "Theirs"


def race_of(address: str, staff: User, *changes: dict[str, str], **fields: str) -> list[int]:
    """How two who saw the same page are answered, who post their changes of it at once."""
    statuses: list[int] = []
    clients = [Client(), Client()]
    for client in clients:
        client.force_login(staff)
    shown = shown_in(clients[0].get(address))

    def post(client: Client, own: dict[str, str]) -> None:
        statuses.append(client.post(address, {"position": "0", "shown": shown, **fields, **own}).status_code)

    assert at_once(*(partial(post, *pair) for pair in zip(clients, changes, strict=True))) == [None, None]
    return sorted(statuses)


def shown_in(page: Any) -> str:
    return str(page.context["form"]["shown"].value())


def test_what_another_changed_meanwhile_is_not_set_back(
    sam: User, sam_client: Client, models: list[HostedModel]
) -> None:
    made = plan(sam, prices={"small": [1, 2]})
    page = sam_client.get(f"/plans/{made.public_id}/")
    change_plan(plan=made, changes={"prices": {"small": [3, 4]}, "requests_per_day": 9}, by=sam)
    fields = {"name": "Starter", "position": "0", "shown": page.context["form"].initial["shown"]}
    answer = sam_client.post(
        f"/plans/{made.public_id}/", {**fields, "input:small": "0.000000005", "output:small": "0.000000006"}
    )
    assert answer.status_code == 400
    assert "somebody changed this to: small" in answer.content.decode()
    answer = sam_client.post(
        f"/plans/{made.public_id}/", {**fields, "input:small": "0.000000001", "output:small": "0.000000002"}
    )
    made.refresh_from_db()
    assert (answer.status_code, made.prices, made.requests_per_day) == (302, {"small": [3, 4]}, 9)


def test_the_playground_and_the_form_of_a_key_offer_the_models_of_the_plan(
    ada: User, ada_client: Client, project: Project, sam: User, models: list[HostedModel]
) -> None:
    assign_plan(organization=project.organization, plan=plan(sam, allowed_models=["small"]), by=sam)
    for address in ("/playground/", "/keys/new/"):
        shown = ada_client.get(address).content.decode()
        assert 'value="small"' in shown
        assert 'value="lab/large"' not in shown
    run = {"model": "lab/large", "messages": [{"role": "user", "content": "Hello."}]}
    answer = ada_client.post("/api/runs/", run, content_type="application/json")
    assert (answer.status_code, "lab/large is not offered here" in answer.json()["detail"]) == (400, True)


def test_the_price_list_is_that_of_the_plan(
    client: Client, ada_client: Client, project: Project, sam: User, models: list[HostedModel]
) -> None:
    prices = {"small": [20 * MILLION, 40 * MILLION]}
    assign_plan(organization=project.organization, plan=plan(sam, allowed_models=["small"], prices=prices), by=sam)
    shown, others = (reader.get("/models/").content.decode() for reader in (ada_client, client))
    assert "$0.02" in shown
    assert "$0.30" not in shown
    assert "Not in your plan" in shown
    assert "$0.30" in others
    assert "plan" not in others
    page = ada_client.get("/models/small/").content.decode()
    assert "$0.02 per million tokens" in page
    assert "Not in your plan" not in page
    assert "Not in your plan" in ada_client.get("/models/lab/large/").content.decode()


def test_the_lowest_price_is_the_one_in_the_plan(
    client: Client, ada_client: Client, project: Project, sam: User, models: list[HostedModel]
) -> None:
    prices = {"lab/large": [90 * MILLION, 1], "gone": [0, 0]}
    assign_plan(organization=project.organization, plan=plan(sam, prices=prices), by=sam)
    cheapest = [
        [model.public_name for model in reader.get("/models/?sort=price").context["page"].items]
        for reader in (client, ada_client)
    ]
    assert cheapest == [["small", "lab/large"], ["lab/large", "small"]]


def test_programs_read_the_prices_of_the_plan_of_the_project_they_name(
    client: Client, ada_client: Client, project: Project, ada: User, sam: User, models: list[HostedModel]
) -> None:
    lab = create_organization(name="Lab", by=ada)
    assign_plan(organization=lab.organization, plan=plan(sam, prices={"small": [2, 3]}), by=sam)

    def prices(reader: Client, **query: str) -> tuple[int, int]:
        [model] = [one for one in reader.get("/api/models/", query).json()["data"] if one["id"] == "small"]
        return model["input_price_nano"], model["output_price_nano"]

    usual = (300 * MILLION, 300 * MILLION)
    assert prices(ada_client, project=lab.public_id) == (2, 3)
    assert prices(ada_client, project=project.public_id) == usual
    assert prices(client) == prices(client, project=lab.public_id) == usual


def test_over_the_rest_api(ada_client: Client, project: Project, sam: User, models: list[HostedModel]) -> None:
    wanted = plan(sam, is_open=True, allowed_models=["small"], prices={"small": [5, 6]}, requests_per_day=3)
    closed = plan(sam, "Closed")
    where = f"/api/organizations/{project.organization.public_id}/plan/"
    before = ada_client.get(where).json()
    assert before["plan"] is None
    assert [choice["id"] for choice in before["choices"]] == [wanted.public_id]
    refused = ada_client.put(where, {"plan": closed.public_id}, content_type="application/json")
    assert refused.status_code == 400
    chosen = ada_client.put(where, {"plan": wanted.public_id}, content_type="application/json").json()["plan"]
    assert chosen["limits"]["requests_per_day"] == 3
    assert chosen["models"] == [{"id": "small", "input_price_nano": 5, "output_price_nano": 6}]
    assign_plan(organization=project.organization, plan=closed, by=sam)
    left = ada_client.put(where, {"plan": wanted.public_id}, content_type="application/json")
    assert (left.status_code, left.json()["code"]) == (409, "plan_assigned")


def test_who_changed_a_plan_can_be_forgotten(sam: User) -> None:
    made = plan(sam)
    texts = {document.path: "".join(document.pieces) for document in HOLDING.export(sam)}
    assert made.public_id in texts["account/plans.json"]
    HOLDING.erase(sam)
    assert PlanChange.objects.get().by is None


def test_a_member_of_another_organization_sees_nothing(cyd_client: Client, project: Project, sam: User) -> None:
    wanted = plan(sam, is_open=True)
    assert cyd_client.get(page_of(project.organization)).status_code == 404
    assert cyd_client.post(page_of(project.organization, wanted), {"mark": wanted.mark}).status_code == 404

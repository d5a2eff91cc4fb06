"""Making a key on its page."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, Project, User
from accounts.organizations.services import create_organization
from accounts.projects.services import open_service_account
from accounts.roles import Role
from apikeys.models import ApiKey, KeyMakers, KeyPolicy
from apikeys.verification import find_keys, prefix_of
from catalog.models import Backend, Deployment, HostedModel

URL = "/keys/new/"


def test_it_works(ada: User, ada_client: Client, project: Project) -> None:
    response = ada_client.post(URL, {"name": "laptop"})
    [secret] = set(find_keys(response.content.decode()))
    key = ApiKey.objects.get()
    assert (key.project, key.name, key.created_by, key) == (
        project,
        "laptop",
        ada,
        ApiKey.objects.behind(secret).get(),
    )
    assert key.hint.startswith(secret[:8])
    assert key.hint.endswith(secret[-4:])
    event = AuditEvent.objects.get(action="key.created")
    assert event.target_id == key.public_id
    assert secret not in str(vars(event))


def test_a_key_is_shown_once(ada_client: Client) -> None:
    response = ada_client.post(URL, {"name": "laptop"})
    assert "no-store" in response.headers["Cache-Control"]
    for address in ("/keys/", f"/keys/{ApiKey.objects.get().public_id}/"):
        assert find_keys(ada_client.get(address).content.decode()) == []


def test_a_reload_makes_no_second_key(ada_client: Client) -> None:
    form = {"name": "laptop", "submission": "one-opened-form"}
    ada_client.post(URL, form)
    again = ada_client.post(URL, form, follow=True)
    assert ApiKey.objects.count() == 1
    assert "has made its key already" in again.content.decode()
    assert find_keys(again.content.decode()) == []


@pytest.fixture
def model() -> HostedModel:
    backend = Backend.objects.create(name="rack", base_url="http://10.0.0.7:8000/v1")
    offered = HostedModel.objects.create(public_name="small")
    Deployment.objects.create(hosted_model=offered, backend=backend, backend_name="small")
    return offered


def test_it_is_restricted_as_the_form_says(ada_client: Client, project: Project, model: HostedModel) -> None:
    ada_client.post(
        URL,
        {
            "name": "laptop",
            "description": "In the office",
            "allowed_models": ["small"],
            "allowed_endpoints": ["embeddings"],
            "allowed_networks": "192.0.2.7\n2001:db8::/32, 198.51.100.0/24",
            "expires_at": "2099-05-01T10:30",
            "requests_per_minute": "60",
            "monthly_budget_nano": "12.50",
        },
    )
    key = ApiKey.objects.get()
    assert (key.allowed_models, key.allowed_endpoints) == (["small"], ["embeddings"])
    assert key.allowed_networks == ["192.0.2.7/32", "2001:db8::/32", "198.51.100.0/24"]
    assert f"{key.expires_at:%Y-%m-%d %H:%M}" == "2099-05-01 10:30"
    assert (key.requests_per_minute, key.tokens_per_minute, key.monthly_budget_nano) == (60, None, 12_500_000_000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("allowed_models", "no-such-model"),
        ("allowed_endpoints", "fine-tuning"),
        ("allowed_networks", "10.0.0.1/8"),
        ("allowed_networks", "everywhere"),
        ("expires_at", "2001-01-01T00:00"),
        ("requests_per_minute", "0"),
        ("monthly_budget_nano", "-1"),
        ("monthly_budget_nano", "1e30"),
    ],
)
def test_what_cannot_be_is_told_beside_its_field(ada_client: Client, field: str, value: str) -> None:
    response = ada_client.post(URL, {"name": "laptop", field: value})
    assert response.status_code == 400
    assert list(response.context["form"].errors) == [field]
    assert not ApiKey.objects.exists()


def test_a_service_account_is_made_and_reused(ada_client: Client, project: Project) -> None:
    new = {"service_account": "new", "new_service_account": "nightly"}
    for name in ("one", "two"):
        response = ada_client.post(URL, {"name": name, **new})
        [secret] = set(find_keys(response.content.decode()))
        assert secret.startswith(f"{prefix_of('service')}_")
        account = project.service_accounts.get()
        new = {"service_account": account.public_id}
    assert [key.service_account for key in ApiKey.objects.all()] == [account] * 2
    # It reads in the audit log as one that was made on its own page.
    assert AuditEvent.objects.get(target_id=account.public_id).action == "service_account.created"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"service_account": "new"}, "new_service_account"),
        # Somebody who types a name and chooses nothing would get a key of their own.
        ({"new_service_account": "nightly"}, "new_service_account"),
        ({"service_account": "nightyl"}, "service_account"),
        ({"service_account": "svc_of_another_project"}, "service_account"),
    ],
)
def test_a_slip_makes_no_second_service_account(
    ada: User, ada_client: Client, project: Project, fields: dict[str, str], wrong: str
) -> None:
    open_service_account(project=project, name="nightly", by=ada)
    elsewhere = create_organization(name="Elsewhere", by=ada)
    other = open_service_account(project=elsewhere, name="nightly", by=ada)
    fields = {name: value.replace("svc_of_another_project", other.public_id) for name, value in fields.items()}
    ada_client.post(f"/projects/{project.public_id}/choose/")
    answer = ada_client.post(URL, {"name": "key", **fields})
    assert (answer.status_code, list(answer.context["form"].errors)) == (400, [wrong])
    assert not ApiKey.objects.exists()
    assert project.service_accounts.count() == 1


def test_only_who_manages_keys_makes_those_of_services(ben: User, ben_client: Client, project: Project) -> None:
    ben_client.post(f"/projects/{project.public_id}/choose/")
    ben_client.post(URL, {"name": "mine", "service_account": "new", "new_service_account": "nightly"})
    assert ApiKey.objects.get().service_account is None


def test_the_policy_is_explained_where_it_is_broken(ada_client: Client, project: Project) -> None:
    KeyPolicy.objects.create(
        organization=project.organization, longest_lifetime_days=30, allowed_networks=["10.0.0.0/8"]
    )
    for fields in ({"expires_at": ""}, {"expires_at": "2099-01-01T00:00"}):
        response = ada_client.post(URL, {"name": "laptop", **fields})
        assert "at most 30 days" in response.context["form"].errors["expires_at"][0]
    soon = f"{timezone.now() + timedelta(days=29):%Y-%m-%dT%H:%M}"
    response = ada_client.post(URL, {"name": "laptop", "expires_at": soon, "allowed_networks": "192.0.2.0/24"})
    assert "10.0.0.0/8" in response.context["form"].errors["allowed_networks"][0]
    assert ada_client.post(URL, {"name": "laptop", "expires_at": soon}).status_code == 200
    assert (
        ada_client.post(URL, {"name": "inner", "expires_at": soon, "allowed_networks": "10.1.0.0/16"}).status_code
        == 200
    )


def test_the_form_begins_with_what_the_policy_wants(ada_client: Client, project: Project) -> None:
    KeyPolicy.objects.create(
        organization=project.organization, longest_lifetime_days=30, default_budget_nano=5_000_000_000
    )
    form = ada_client.get(URL).context["form"]
    shown = {name: form[name].value() for name in ("expires_at", "monthly_budget_nano")}
    assert shown["monthly_budget_nano"] == "5"
    expires = form["expires_at"].value()
    assert ada_client.post(URL, {"name": "laptop", "expires_at": f"{expires:%Y-%m-%dT%H:%M}"}).status_code == 200


def test_where_only_admins_make_keys_a_member_is_told(ben: User, ben_client: Client, project: Project) -> None:
    KeyPolicy.objects.create(organization=project.organization, makers=KeyMakers.ADMINS)
    ben_client.post(f"/projects/{project.public_id}/choose/")
    refusal = ben_client.get(URL)
    assert refusal.status_code == 403
    assert "only admins make keys" in refusal.content.decode()
    assert ben_client.post(URL, {"name": "mine"}).status_code == 403
    assert URL not in ben_client.get("/keys/").content.decode()
    ben.memberships.filter(organization=project.organization).update(role=Role.ADMIN)
    assert ben_client.post(URL, {"name": "mine"}).status_code == 200


def test_a_management_key_is_made_on_its_own_page(ada: User, ada_client: Client) -> None:
    response = ada_client.post("/keys/management/new/", {"name": "terraform", "is_read_only": "on"})
    [secret] = set(find_keys(response.content.decode()))
    key = ApiKey.objects.get()
    assert (key.owner, key.project, key.is_read_only) == (ada, None, True)
    assert secret.startswith(f"{prefix_of('management')}_")
    assert key.name in ada_client.get("/keys/management/").content.decode()
    assert key.name not in ada_client.get("/keys/").content.decode()

"""Organizations: making, naming, leaving, handing over."""

import re

import pytest
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.test import Client

from accounts.errors import RefusedError
from accounts.models import AuditEvent, Membership, Organization, Project, User
from accounts.organizations.services import create_organization, leave_organization, transfer_ownership
from accounts.roles import Role
from notifications.models import Notification
from notifications.services import send_waiting
from tests.conftest import client_of


@pytest.fixture
def organization(project: Project) -> Organization:
    return project.organization


def test_it_works(ada: User, ada_client: Client) -> None:
    made = ada_client.post("/organizations/new/", {"name": "Analytical Engines"})
    organization = ada.organizations.get(name="Analytical Engines")
    assert made.headers["Location"] == f"/organizations/{organization.public_id}/members/"
    assert not organization.is_personal
    assert Membership.objects.get(organization=organization).role == Role.OWNER
    # One works in its first project from here on.
    assert ada_client.get("/keys/").context["project"] == organization.projects.get()
    listed = ada_client.get("/organizations/").content.decode()
    assert "Analytical Engines" in listed
    assert "Personal" in listed


def test_they_are_searched_and_sorted(ada: User, ada_client: Client, cyd: User) -> None:
    for name in ("Alpha", "beta"):
        create_organization(name=name, by=ada)
    create_organization(name="Alpha of another", by=cyd)

    def shown(**query: str) -> list[str]:
        rows = ada_client.get("/organizations/", query).context["page"].items
        return [membership.organization.name for membership in rows]

    assert shown() == ["Alpha", "beta", "Personal"]
    assert shown(sort="newest") == ["beta", "Alpha", "Personal"]
    assert shown(q="ALPHA") == ["Alpha"]
    assert "No organization found" in ada_client.get("/organizations/", {"q": "gamma"}).content.decode()


def test_it_is_renamed(ada_client: Client, organization: Organization) -> None:
    ada_client.post(f"/organizations/{organization.public_id}/settings/", {"name": "Engines"})
    organization.refresh_from_db()
    assert organization.name == "Engines"
    event = AuditEvent.objects.get(action="organization.renamed")
    assert (event.before, event.after) == ({"name": "Personal"}, {"name": "Engines"})
    assert event.organization_id == organization.public_id


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\0b"])
def test_a_name_that_cannot_be(ada_client: Client, organization: Organization, name: str) -> None:
    address = f"/organizations/{organization.public_id}/settings/"
    assert ada_client.post(address, {"name": name}).status_code == 400
    assert ada_client.post("/organizations/new/", {"name": name}).status_code == 400
    organization.refresh_from_db()
    assert organization.name == "Personal"


def test_a_member_looks_and_changes_nothing(ben_client: Client, organization: Organization) -> None:
    address = f"/organizations/{organization.public_id}/settings/"
    assert ben_client.get(address).context["form"] is None
    assert ben_client.post(address, {"name": "Mine"}).status_code == 403


def test_a_stranger_finds_nothing(cyd_client: Client, organization: Organization) -> None:
    for page in ("settings", "members", "projects", "projects/new"):
        assert cyd_client.get(f"/organizations/{organization.public_id}/{page}/").status_code == 404
    assert cyd_client.post(f"/organizations/{organization.public_id}/leave/").status_code == 404


def test_who_leaves_reaches_nothing_at_once(ben: User, ben_client: Client, organization: Organization) -> None:
    assert ben_client.get(f"/organizations/{organization.public_id}/projects/").status_code == 200
    ben_client.post(f"/organizations/{organization.public_id}/leave/")
    assert ben_client.get(f"/organizations/{organization.public_id}/projects/").status_code == 404
    assert AuditEvent.objects.filter(action="member.left").count() == 1
    # A second click finds nothing to leave.
    assert ben_client.post(f"/organizations/{organization.public_id}/leave/").status_code == 404


def test_the_last_owner_stays(ada: User, ada_client: Client, organization: Organization, ben: User) -> None:
    with pytest.raises(RefusedError, match="always has an owner"):
        leave_organization(membership=organization.memberships.get(user=ada))
    page = ada_client.post(f"/organizations/{organization.public_id}/leave/", follow=True)
    assert "always has an owner" in page.content.decode()
    assert organization.memberships.filter(user=ada).exists()


def test_the_only_owner_reads_what_to_do_first(
    ada_client: Client, ben: User, ben_client: Client, organization: Organization
) -> None:
    page = f"/organizations/{organization.public_id}/settings/"
    way_out = f"/organizations/{organization.public_id}/leave/"
    told = ada_client.get(page).content.decode()
    assert "Hand the organization over first" in told
    assert way_out not in told
    assert way_out in ben_client.get(page).content.decode()
    Membership.objects.filter(user=ben, organization=organization).update(role=Role.OWNER)
    assert way_out in ada_client.get(page).content.decode()


def test_it_is_handed_over(ada: User, ben: User, ada_client: Client, organization: Organization) -> None:
    address = f"/organizations/{organization.public_id}/members/{ben.public_id}/transfer/"
    ada_client.post(address)
    roles = dict(organization.memberships.values_list("user__name", "role"))
    assert roles == {"Ada": Role.ADMIN, "Ben": Role.OWNER}
    # A second click comes from somebody who is no owner any more.
    assert ada_client.post(address).status_code == 403
    assert AuditEvent.objects.filter(action="member.role_changed").count() == 2


def test_who_gets_it_is_told(ada: User, ben: User, ada_client: Client, organization: Organization) -> None:
    mail.outbox.clear()
    ada_client.post(f"/organizations/{organization.public_id}/members/{ben.public_id}/transfer/")
    page = client_of(ben).get("/notifications/").content.decode()
    assert f"Ada made you an owner of the organization “{organization.name}”" in page
    send_waiting()
    [message] = mail.outbox
    assert message.to == [ben.email]
    assert f"/organizations/{organization.public_id}/settings/" in str(message.body)
    assert not Notification.objects.filter(recipient=ada).exists()


def test_who_of_one_name_gets_it_is_told_by_their_address(
    ada_client: Client, ben: User, organization: Organization
) -> None:
    page = ada_client.get(f"/organizations/{organization.public_id}/members/{ben.public_id}/").content.decode()
    [dialog] = re.findall(r'<dialog[^>]* id="transfer".*?</dialog>', page, re.DOTALL)
    assert ben.email in dialog


def test_only_an_owner_hands_it_over(ben: User, ada: User, organization: Organization) -> None:
    organization.memberships.filter(user=ben).update(role=Role.ADMIN)
    with pytest.raises(PermissionDenied):
        transfer_ownership(to=organization.memberships.get(user=ben), by=ben)


def test_the_rail_shows_what_one_may_open(
    ada_client: Client, ben: User, ben_client: Client, organization: Organization, project: Project
) -> None:
    def rail(client: Client) -> list[str]:
        client.post(f"/projects/{project.public_id}/choose/")
        sections = client.get("/settings/").context["nav"]
        return [item.url.split("/")[-2] for section in sections for item in section.items if "/organ" in item.url]

    assert {"projects", "members", "settings"} <= set(rail(ada_client))
    assert rail(ben_client) == ["projects", "members", "settings"]
    organization.memberships.filter(user=ben).update(role=Role.BILLING)
    assert rail(ben_client) == ["projects", "settings"]

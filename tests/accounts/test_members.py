"""The members of an organization: their list, their roles, their end."""

from collections.abc import Iterator

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.errors import RefusedError
from accounts.models import AuditEvent, Membership, Organization, Project, User
from accounts.organizations.services import change_role, remove_member
from accounts.organizations.views import MEMBER_ORDERS
from accounts.roles import Role
from accounts.signals import rights_changed
from tests.plans import most_rows_read
from tests.races import at_once


@pytest.fixture
def organization(project: Project) -> Organization:
    return project.organization


@pytest.fixture
def address(organization: Organization) -> str:
    return f"/organizations/{organization.public_id}/members/"


@pytest.fixture
def changed() -> Iterator[list[User]]:
    """Whose rights were announced as changed."""
    heard: list[User] = []

    def hear(user: User, organization: Organization, **kwargs: object) -> None:
        heard.append(user)

    rights_changed.connect(hear, weak=False, dispatch_uid="test")
    yield heard
    rights_changed.disconnect(dispatch_uid="test")


def crowd(organization: Organization, size: int) -> None:
    people = User.objects.bulk_create(
        User(email=f"p{number:04}@example.com", name=f"Person {number:04}") for number in range(size)
    )
    Membership.objects.bulk_create(Membership(organization=organization, user=person) for person in people)


def test_it_works(ada_client: Client, ben: User, address: str) -> None:
    page = ada_client.get(address)
    assert [member.user.name for member in page.context["page"].items] == ["Ada", "Ben"]
    assert "ben@example.com" in page.content.decode()


def test_a_member_reads_names_and_no_addresses(ben_client: Client, ada: User, address: str) -> None:
    for page in (ben_client.get(address), ben_client.get(f"{address}{ada.public_id}/")):
        assert page.status_code == 200
        assert "Ada" in page.content.decode()
        assert "ada@example.com" not in page.content.decode()
    assert list(ben_client.get(address, {"q": "ada@example"}).context["page"].items) == []


def test_it_is_searched_sorted_and_paged(
    ada_client: Client, ben: User, organization: Organization, address: str
) -> None:
    crowd(organization, 60)
    found = ada_client.get(address, {"q": "person 0042"}).context["page"].items
    assert [member.user.name for member in found] == ["Person 0042"]
    assert ada_client.get(address, {"q": "p0042@"}).context["page"].items == found
    first = ada_client.get(address, {"sort": "name"}).context["page"]
    second = ada_client.get(address, {"sort": "name", "cursor": first.older}).context["page"]
    names = [member.user.name for member in [*first.items, *second.items]]
    assert names == sorted(names)
    assert len(set(names)) == 62
    back = ada_client.get(address, {"sort": "name", "cursor": second.newer}).context["page"]
    assert back.items == first.items
    User.objects.filter(name="Ada").update(name="Zoe")
    first_of = {
        sort: ada_client.get(address, {"sort": sort}).context["page"].items[0].user.name for sort in MEMBER_ORDERS
    }
    assert first_of == {"name": "Ben", "role": "Zoe", "joined": "Person 0059"}
    # A cursor of another order is no cursor of this one.
    assert ada_client.get(address, {"sort": "joined", "cursor": first.older}).status_code == 200
    assert ada_client.get(address, {"q": "nobody of that name"}).status_code == 200


@pytest.mark.parametrize("query", ["", "sort=role", "sort=joined", "q=person"])
def test_a_thousand_members_take_no_more_queries(
    ada_client: Client, organization: Organization, address: str, query: str
) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert ada_client.get(f"{address}?{query}").status_code == 200
        return len(queries)

    few = count()
    crowd(organization, 1000)
    # Session, user, organization, two for rights, members, switcher, notifications.
    assert count() == few <= 9


@pytest.mark.parametrize(("sort", "words"), [*((sort, "") for sort in MEMBER_ORDERS), ("name", "person")])
def test_a_page_reads_no_more_members_than_it_shows(organization: Organization, sort: str, words: str) -> None:
    crowd(organization, 1000)
    order = MEMBER_ORDERS[sort]
    columns = (order.by, "pk") if order.ascending else (f"-{order.by}", "-pk")
    found = Membership.objects.for_members_page(organization).matching(words, by_address=True)
    # In pages by name those of one name are sorted among themselves, a few at a time.
    assert most_rows_read(found.order_by(*columns)[:51]) < 200


def test_a_role_is_changed(
    ada_client: Client, ben: User, address: str, organization: Organization, changed: list[User]
) -> None:
    ada_client.post(f"{address}{ben.public_id}/role/", {"role": "viewer"})
    assert organization.memberships.get(user=ben).role == Role.VIEWER
    event = AuditEvent.objects.get(action="member.role_changed")
    assert (event.before, event.after) == ({"role": "member"}, {"role": "viewer"})
    assert event.target_label == ""
    # The same again changes nothing, and says nothing.
    ada_client.post(f"{address}{ben.public_id}/role/", {"role": "viewer"})
    assert AuditEvent.objects.filter(action="member.role_changed").count() == 1
    assert changed == [ben]


def test_a_role_that_is_none(ada_client: Client, ben: User, address: str, organization: Organization) -> None:
    assert ada_client.post(f"{address}{ben.public_id}/role/", {"role": "emperor"}).status_code == 400
    assert organization.memberships.get(user=ben).role == Role.MEMBER


def test_without_the_right_it_is_refused(ben_client: Client, cyd_client: Client, ada: User, address: str) -> None:
    for act in ("role", "remove", "transfer"):
        assert ben_client.post(f"{address}{ada.public_id}/{act}/", {"role": "member"}).status_code == 403
        assert cyd_client.post(f"{address}{ada.public_id}/{act}/", {"role": "member"}).status_code == 404
    assert cyd_client.get(address).status_code == 404


@pytest.mark.parametrize("role", [Role.BILLING, Role.GUEST])
def test_who_may_not_see_people_does_not(
    ben: User, ben_client: Client, organization: Organization, address: str, role: Role
) -> None:
    organization.memberships.filter(user=ben).update(role=role)
    assert ben_client.get(address).status_code == 403
    # Their own place is theirs to see.
    assert ben_client.get(f"{address}{ben.public_id}/").status_code == 200


def test_an_admin_makes_and_unmakes_no_owner(
    ada: User, ben: User, ben_client: Client, organization: Organization, address: str
) -> None:
    organization.memberships.filter(user=ben).update(role=Role.ADMIN)
    assert ben_client.post(f"{address}{ben.public_id}/role/", {"role": "owner"}).status_code == 400
    adas, bens = organization.memberships.get(user=ada), organization.memberships.get(user=ben)
    with pytest.raises(PermissionDenied):
        change_role(membership=bens, role=Role.OWNER, by=ben)
    with pytest.raises(PermissionDenied):
        change_role(membership=adas, role=Role.MEMBER, by=ben)
    with pytest.raises(PermissionDenied):
        remove_member(membership=adas, by=ben)
    assert ben_client.post(f"{address}{ada.public_id}/remove/").status_code == 403


def test_the_last_owner_is_kept(ada: User, ada_client: Client, organization: Organization, address: str) -> None:
    page = ada_client.post(f"{address}{ada.public_id}/role/", {"role": "admin"}, follow=True)
    assert "always has an owner" in page.content.decode()
    assert organization.memberships.get(user=ada).role == Role.OWNER
    with pytest.raises(RefusedError):
        remove_member(membership=organization.memberships.get(user=ada), by=ada)


def test_who_is_removed_reaches_nothing_at_once(
    ada_client: Client,
    ben: User,
    ben_client: Client,
    organization: Organization,
    project: Project,
    address: str,
    changed: list[User],
) -> None:
    ben_client.post(f"/projects/{project.public_id}/choose/")
    assert ben_client.get(f"/projects/{project.public_id}/").status_code == 200
    ada_client.post(f"{address}{ben.public_id}/remove/")
    assert ben_client.get(f"/projects/{project.public_id}/").status_code == 404
    assert ben_client.get(address).status_code == 404
    assert ben_client.get("/keys/").context["project"] != project
    assert changed == [ben]
    assert AuditEvent.objects.get(action="member.removed").before == {"role": "member"}
    # A second click finds nobody.
    assert ada_client.post(f"{address}{ben.public_id}/remove/").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_two_owners_cannot_unmake_each_other(ada: User, ben: User, organization: Organization) -> None:
    organization.memberships.update(role=Role.OWNER)
    adas, bens = organization.memberships.get(user=ada), organization.memberships.get(user=ben)
    outcomes = at_once(
        lambda: remove_member(membership=bens, by=ada),
        lambda: remove_member(membership=adas, by=ben),
    )
    assert organization.memberships.filter(role=Role.OWNER).count() == 1
    assert sum(outcome is not None for outcome in outcomes) == 1


@pytest.mark.django_db(transaction=True)
def test_two_owners_cannot_both_step_down(ada: User, ben: User, organization: Organization) -> None:
    organization.memberships.update(role=Role.OWNER)
    adas, bens = organization.memberships.get(user=ada), organization.memberships.get(user=ben)
    outcomes = at_once(
        lambda: change_role(membership=adas, role=Role.MEMBER, by=ada),
        lambda: change_role(membership=bens, role=Role.MEMBER, by=ben),
    )
    assert organization.memberships.filter(role=Role.OWNER).count() == 1
    assert [type(outcome) for outcome in outcomes if outcome] == [RefusedError]


def test_an_account_that_is_switched_off_is_made_no_owner(
    ada_client: Client, ben: User, organization: Organization, address: str
) -> None:
    User.objects.filter(pk=ben.pk).update(is_active=False)
    for act, fields in (("transfer", {}), ("role", {"role": "owner"})):
        page = ada_client.post(f"{address}{ben.public_id}/{act}/", fields, follow=True).content.decode()
        assert "This account is switched off" in page
    answer = ada_client.post(f"/api/organizations/{organization.public_id}/members/{ben.public_id}/transfer/")
    assert (answer.status_code, answer.json()["code"]) == (409, "account_switched_off")
    assert organization.memberships.get(user=ben).role == Role.MEMBER

"""Join links: many come in by one link, and no more than it has places."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.errors import RefusedError
from accounts.invitations.links import create_join_link, join, switch_join_link
from accounts.invitations.services import accept_invitation, invite
from accounts.limits.services import change_member_limits
from accounts.models import JoinLink, JoinState, Membership, Organization, Project, User
from accounts.organizations.services import leave_organization, remove_member
from accounts.roles import ProjectRole, Role
from accounts.signals import member_joined
from tests.races import at_once


@pytest.fixture
def organization(project: Project) -> Organization:
    return project.organization


@pytest.fixture
def link(ada: User, organization: Organization) -> JoinLink:
    return create_join_link(
        organization=organization,
        name="The team",
        role=Role.VIEWER,
        most_joins=2,
        ends_at=timezone.now() + timedelta(days=7),
        by=ada,
    )


def test_it_works(link: JoinLink, cyd: User, cyd_client: Client, organization: Organization) -> None:
    heard = []

    def hear(membership: Membership, **kwargs: object) -> None:
        heard.append(membership)

    member_joined.connect(hear)
    address = f"/join/{link.token}/"
    assert "Join" in cyd_client.get(address).content.decode()
    cyd_client.post(address)
    membership = Membership.objects.get(organization=organization, user=cyd)
    assert membership.role == Role.VIEWER
    assert heard == [membership]
    # A second click, and a look back, take no second place.
    assert "in already" in cyd_client.post(address, follow=True).content.decode()
    assert JoinLink.objects.get().join_count == 1


def test_a_visitor_signs_up_first_and_comes_back(link: JoinLink, client: Client) -> None:
    address = f"/join/{link.token}/"
    page = client.get(address).content.decode()
    assert f"/accounts/signup/?next={address}" in page
    assert client.post(address).headers["Location"] == f"/accounts/login/?next={address}"
    fields = {"email": "eve@example.com", "password1": "a long enough password", "password2": "a long enough password"}
    assert client.post("/accounts/signup/", {**fields, "next": address}).headers["Location"] == address
    client.post(address)
    assert Membership.objects.filter(organization=link.organization, user__email="eve@example.com").exists()


@pytest.mark.parametrize("token", ["wrong", "a" * 5000, "%F0%9F%92%A9"])
def test_a_link_that_is_none(cyd_client: Client, token: str) -> None:
    assert cyd_client.get(f"/join/{token}/").status_code == 404
    assert cyd_client.post(f"/join/{token}/").status_code == 404


def test_one_that_is_over_or_off_or_full(link: JoinLink, ada: User, ben: User, cyd: User, sam: User) -> None:
    switch_join_link(link=link, is_on=False, by=ada)
    with pytest.raises(RefusedError, match="switched off"):
        join(link=link, user=cyd)
    # Who is in is not turned away.
    assert join(link=link, user=ben) is False
    switch_join_link(link=link, is_on=True, by=ada)
    JoinLink.objects.update(ends_at=timezone.now())
    with pytest.raises(RefusedError, match="is over"):
        join(link=link, user=cyd)
    JoinLink.objects.update(ends_at=timezone.now() + timedelta(days=1), join_count=2)
    with pytest.raises(RefusedError, match="are taken"):
        join(link=link, user=sam)
    assert not Membership.objects.filter(organization=link.organization, user__in=[cyd, sam]).exists()


def test_a_member_keeps_their_role_and_a_guest_gains_one(link: JoinLink, ben: User, cyd: User) -> None:
    assert join(link=link, user=ben) is False
    assert Membership.objects.get(organization=link.organization, user=ben).role == Role.MEMBER
    Membership.objects.create(organization=link.organization, user=cyd, role=Role.GUEST)
    assert join(link=link, user=cyd) is True
    assert Membership.objects.get(organization=link.organization, user=cyd).role == Role.VIEWER


def test_the_token_is_not_to_be_read_in_the_database(link: JoinLink) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_joinlink")
        assert link.token not in str(cursor.fetchall())


@pytest.mark.django_db(transaction=True)
def test_no_more_come_in_than_there_are_places(link: JoinLink) -> None:
    people = [User.objects.create_user(f"p{number}@example.com") for number in range(5)]
    outcomes = at_once(*[lambda person=person: join(link=link, user=person) for person in people])
    assert Membership.objects.filter(organization=link.organization, user__in=people).count() == 2
    assert [type(outcome) for outcome in outcomes if outcome] == [RefusedError] * 3
    held = JoinLink.objects.get()
    assert (held.join_count, held.state) == (2, JoinState.FULL)


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_take_one_place(link: JoinLink, cyd: User) -> None:
    outcomes = at_once(lambda: join(link=link, user=cyd), lambda: join(link=link, user=cyd))
    assert outcomes == [None, None]
    assert JoinLink.objects.get().join_count == 1


def test_one_is_made_shown_again_and_switched(ada_client: Client, cyd_client: Client, project: Project) -> None:
    address = f"/organizations/{project.organization.public_id}/join-links/"
    fields = {
        "name": "Chat", "role": "guest", "project": project.pk, "project_role": "viewer", "most_joins": "5",
        "ends_at": "2050-01-01",
    }  # fmt: skip
    assert ada_client.post(address, fields).headers["Location"] == address
    link = JoinLink.objects.get()
    assert (link.project, link.project_role, link.role) == (project, "viewer", Role.GUEST)
    for _look in range(2):
        assert f"/join/{link.token}/" in ada_client.get(address, {"q": "chat"}).content.decode()
    ada_client.post(f"/join-links/{link.public_id}/switch/", {"on": "no"})
    assert cyd_client.get(f"/join/{link.token}/").status_code == 410
    assert f"/join/{link.token}/" not in ada_client.get(address).content.decode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "owner"},
        {"role": "admin"},
        {"most_joins": "0"},
        {"most_joins": "10001"},
        {"ends_at": ""},
        {"ends_at": "2001-01-01"},
        {"name": "x" * 81},
        {"project": "0"},
        {"project_role": "admin"},
    ],
)
def test_one_that_cannot_be(ada_client: Client, organization: Organization, wrong: dict[str, str]) -> None:
    fields = {"name": "Chat", "role": "member", "most_joins": "5", "ends_at": "2050-01-01", **wrong}
    assert ada_client.post(f"/organizations/{organization.public_id}/join-links/", fields).status_code == 400
    assert not JoinLink.objects.exists()


@pytest.mark.parametrize(
    ("role", "project_role"), [(Role.ADMIN, None), (Role.BILLING, None), (Role.MEMBER, ProjectRole.ADMIN)]
)
def test_nobody_who_manages_something_comes_in_by_a_link(
    ada: User, project: Project, role: Role, project_role: ProjectRole | None
) -> None:
    with pytest.raises(RefusedError, match="nobody who manages"):
        create_join_link(
            organization=project.organization, name="Chat", role=role, most_joins=5, ends_at=None, by=ada,
            project=project, project_role=project_role,
        )  # fmt: skip
    assert not JoinLink.objects.exists()


def test_one_that_is_older_than_this_rule_makes_a_member(ada: User, cyd: User, project: Project) -> None:
    old = create_join_link(
        organization=project.organization, name="Team", role=Role.GUEST, most_joins=5, ends_at=None, by=ada,
        project=project, project_role=ProjectRole.MEMBER,
    )  # fmt: skip
    JoinLink.objects.filter(pk=old.pk).update(project_role=ProjectRole.ADMIN)
    join(link=old, user=cyd)
    assert project.memberships.get().role == ProjectRole.MEMBER


def test_a_project_of_another_organization_is_none(ada_client: Client, cyd: User, organization: Organization) -> None:
    others = Project.objects.get(organization__memberships__user=cyd)
    fields = {"name": "Chat", "role": "member", "most_joins": "5", "ends_at": "2050-01-01", "project": others.pk}
    assert ada_client.post(f"/organizations/{organization.public_id}/join-links/", fields).status_code == 400


def test_a_member_has_none_of_it(ben_client: Client, cyd_client: Client, link: JoinLink) -> None:
    assert ben_client.post(f"/join-links/{link.public_id}/switch/").status_code == 403
    assert cyd_client.post(f"/join-links/{link.public_id}/switch/").status_code == 404


def test_who_was_removed_comes_back_by_invitation_only(link: JoinLink, ada: User, cyd: User) -> None:
    join(link=link, user=cyd)
    remove_member(membership=Membership.objects.get(organization=link.organization, user=cyd), by=ada)
    with pytest.raises(RefusedError, match="nobody back in who was removed"):
        join(link=link, user=cyd)
    invitation = invite(organization=link.organization, email=cyd.email, role=Role.VIEWER, by=ada)
    accept_invitation(invitation=invitation, user=cyd)
    leave_organization(membership=Membership.objects.get(organization=link.organization, user=cyd))
    # Who left by themselves may come back.
    assert join(link=link, user=cyd) is True


def test_who_leaves_limits_behind_comes_back_by_invitation_only(link: JoinLink, ada: User, cyd: User) -> None:
    join(link=link, user=cyd)
    place = Membership.objects.get(organization=link.organization, user=cyd)
    change_member_limits(membership=place, changes={"monthly_budget_nano": 0}, by=ada)
    leave_organization(membership=place)
    with pytest.raises(RefusedError, match="who left while limits were set"):
        join(link=link, user=cyd)


def test_who_leaves_and_comes_back_takes_one_place(link: JoinLink, ada: User, cyd: User) -> None:
    for _round in range(3):
        assert join(link=link, user=cyd) is True
        leave_organization(membership=Membership.objects.get(organization=link.organization, user=cyd))
    assert JoinLink.objects.get().join_count == 1
    # Theirs is kept for them, when all others are taken.
    assert join(link=link, user=User.objects.create_user("eve@example.com")) is True
    with pytest.raises(RefusedError, match="taken"):
        join(link=link, user=User.objects.create_user("fay@example.com"))
    assert join(link=link, user=cyd) is True

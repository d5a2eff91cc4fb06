"""Invitations by mail: sent, accepted once by the one they are for, and telling nobody who has an account."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.conf import LazySettings
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from accounts.errors import RefusedError
from accounts.invitations.services import (
    accept_invitation,
    invite,
    resend_invitation,
    revoke_invitation,
    send_invitation,
    send_waiting_invitations,
)
from accounts.models import AuditEvent, Invitation, Membership, Organization, Project, ProjectMembership, User
from accounts.organizations.services import remove_member
from accounts.roles import ProjectRole, Role
from accounts.signals import member_joined
from tests.races import at_once


@pytest.fixture(autouse=True)
def outbox(settings: LazySettings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.EMAIL_URL = "smtp://mail.example.com"


@pytest.fixture
def organization(project: Project) -> Organization:
    return project.organization


@pytest.fixture
def address(organization: Organization) -> str:
    return f"/organizations/{organization.public_id}/invitations/"


def link_in_the_mail() -> str:
    """The path of the link in the newest mail, after the worker has sent what waits."""
    send_waiting_invitations()
    match = re.search(r"/invitation/\S+/", str(mail.outbox[-1].body))
    assert match
    return match[0]


@pytest.fixture
def cyds(ada: User, cyd: User, organization: Organization) -> Invitation:
    """Cyd's invitation."""
    return invite(organization=organization, email=cyd.email, role=Role.VIEWER, by=ada)


@pytest.fixture
def joined() -> Iterator[list[Membership]]:
    heard: list[Membership] = []

    def hear(membership: Membership, **kwargs: object) -> None:
        heard.append(membership)

    member_joined.connect(hear, weak=False, dispatch_uid="test")
    yield heard
    member_joined.disconnect(dispatch_uid="test")


def test_it_works(
    ada_client: Client,
    cyd: User,
    cyd_client: Client,
    organization: Organization,
    address: str,
    joined: list[Membership],
) -> None:
    closed = Project.objects.create(organization=organization, name="Closed", is_open=False)
    sent = ada_client.post(
        address,
        {"emails": "CYD@example.com", "role": "guest", "projects": closed.pk, "project_role": "viewer"},
        follow=True,
    )
    assert "1 invitation is on its way." in sent.content.decode()
    assert [one.email for one in sent.context["page"].items] == ["cyd@example.com"]
    link = link_in_the_mail()
    assert mail.outbox[-1].to == ["cyd@example.com"]
    assert "Ada invites you to work in Ada’s organization" in mail.outbox[-1].body
    assert "Accept" in cyd_client.get(link).content.decode()
    cyd_client.post(link)
    membership = Membership.objects.get(organization=organization, user=cyd)
    assert membership.role == Role.GUEST
    assert ProjectMembership.objects.get(membership=membership).role == ProjectRole.VIEWER
    assert cyd_client.get("/keys/").context["project"] == closed
    assert joined == [membership]
    assert ada_client.get(address).context["page"].items == []
    acts = AuditEvent.objects.filter(organization_id=organization.public_id).order_by("at")
    assert [act.action for act in acts] == ["organization.renamed", "invitation.created", "member.joined"]
    assert "cyd" not in str([(act.target_label, act.before, act.after) for act in acts]).lower()


def test_the_page_reads_well_in_both_languages(cyds: Invitation, cyd_client: Client) -> None:
    link = link_in_the_mail()
    english = cyd_client.get(link).content.decode()
    assert "Ada invites you. Your role: Viewer." in english
    assert "The invitation expires <time" in english
    chinese = cyd_client.get(link, headers={"accept-language": "zh-hans"}).content.decode()
    assert "Ada邀请你。你的角色：" in chinese
    assert "邀请到期时间：<time" in chinese


@pytest.mark.parametrize("way", ["invitations", "join-links"])
def test_a_personal_organization_is_called_after_whose_it_is_once_others_are_asked(
    ada_client: Client, organization: Organization, way: str
) -> None:
    data = {"emails": "cyd@example.com", "role": "member", "name": "Course", "most_joins": "3"}
    data["ends_at"] = f"{timezone.localdate() + timedelta(days=9)}"
    assert ada_client.post(f"/organizations/{organization.public_id}/{way}/", data).status_code == 302
    organization.refresh_from_db()
    assert (organization.name, organization.is_personal) == ("Ada’s organization", False)
    event = AuditEvent.objects.get(action="organization.renamed")
    assert (event.before, event.after) == ({"name": "Personal"}, {"name": "Ada’s organization"})


def test_a_name_that_was_given_stays(ada: User, organization: Organization) -> None:
    Organization.objects.update(name="Engines")
    invite(organization=organization, email="cyd@example.com", role=Role.MEMBER, by=ada)
    organization.refresh_from_db()
    assert (organization.name, organization.is_personal) == ("Engines", False)
    assert not AuditEvent.objects.filter(action="organization.renamed").exists()


def test_who_accepts_works_there_from_here_on(
    cyds: Invitation, cyd_client: Client, organization: Organization, project: Project
) -> None:
    cyd_client.post(link_in_the_mail())
    assert cyd_client.get("/keys/").context["project"].organization == organization


def test_a_visitor_signs_up_and_needs_no_second_proof(
    ada: User, client: Client, organization: Organization, settings: LazySettings
) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    invite(organization=organization, email="eve@example.com", role=Role.MEMBER, by=ada)
    link = link_in_the_mail()
    page = client.get(link).content.decode()
    assert f"/accounts/signup/?next={link}&amp;email=eve%40example.com" in page
    fields = {"email": "eve@example.com", "password1": "a long enough password", "password2": "a long enough password"}
    assert client.post("/accounts/signup/", {**fields, "next": link}).headers["Location"] == link
    client.post(link)
    eve = User.objects.get(email="eve@example.com")
    assert Membership.objects.get(organization=organization, user=eve).role == Role.MEMBER
    assert EmailAddress.objects.get(user=eve).verified


def test_many_at_once(ada_client: Client, ben: User, address: str) -> None:
    page = ada_client.post(
        address,
        {"emails": "x@example.com, y@example.com;\nX@example.com ben@example.com", "role": "member"},
        follow=True,
    ).content.decode()
    assert "2 invitations are on their way." in page
    assert "ben@example.com is a member already." in page
    assert Invitation.objects.count() == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"emails": "", "role": "member"},
        {"emails": "not an address", "role": "member"},
        {"emails": "a\0@example.com", "role": "member"},
        {"emails": " ".join(f"p{number}@example.com" for number in range(51)), "role": "member"},
        {"emails": "x@example.com", "role": "emperor"},
        {"emails": "x@example.com", "role": "guest", "projects": "999999999"},
    ],
)
def test_what_cannot_be_sent(ada_client: Client, address: str, fields: dict[str, str]) -> None:
    assert ada_client.post(address, fields).status_code == 400
    assert not Invitation.objects.exists()


def test_without_a_mail_server_nobody_reads_that_mail_is_sent(
    ada_client: Client, address: str, settings: LazySettings
) -> None:
    settings.EMAIL_URL = ""
    page = ada_client.post(address, {"emails": "eve@example.com", "role": "guest"}, follow=True).content.decode()
    assert "1 invitation is made." in page
    assert "find each link on the Mail page" in page
    settings.EMAIL_URL = "smtp://mail.example.com"
    page = ada_client.post(address, {"emails": "fay@example.com", "role": "guest"}, follow=True).content.decode()
    assert "1 invitation is on its way." in page
    assert "find each link on the Mail page" not in page


def test_nobody_learns_who_has_an_account(ada_client: Client, cyd: User, address: str) -> None:
    def answer(email: str) -> tuple[int, str, int]:
        with CaptureQueriesContext(connection) as queries:
            response = ada_client.post(address, {"emails": email, "role": "member"})
        page = ada_client.get(address, {"q": email}).content.decode()
        told = re.sub(r"inv_\w+|csrf\S+|value=\S+|datetime=\S+|nonce=\S+|title=\"\w+ \d+.*?\"", "", page)
        Invitation.objects.all().delete()
        return response.status_code, told.replace(email, "…").replace(email.upper(), "…"), len(queries)

    answer("warm@example.com")
    known, unknown = answer("cyd@example.com"), answer("nix@example.com")
    assert (known[0], known[2]) == (unknown[0], unknown[2])
    assert len(known[1]) == pytest.approx(len(unknown[1]), abs=200)
    assert "Being sent" in known[1]
    assert "Being sent" in unknown[1]


def test_a_mail_speaks_the_language_of_who_gets_it(ada: User, cyd: User, organization: Organization) -> None:
    with translation.override("zh-hans"):
        invite(organization=organization, email="new@example.com", role=Role.MEMBER, by=ada)
    User.objects.filter(pk=cyd.pk).update(language="zh-hans")
    invite(organization=organization, email=cyd.email, role=Role.MEMBER, by=ada)
    invite(organization=organization, email="english@example.com", role=Role.MEMBER, by=ada)
    assert list(Invitation.objects.order_by("pk").values_list("language", flat=True)) == ["zh-hans", "en", "en"]
    send_waiting_invitations()
    assert len(mail.outbox) == 3


def test_another_address_is_refused_and_told_what_to_do(
    cyds: Invitation, ada: User, sam: User, sam_client: Client, organization: Organization
) -> None:
    link = link_in_the_mail()
    page = sam_client.get(link).content.decode()
    assert "sent to cyd@example.com" in page
    assert "Sign out" in page
    out = sam_client.post("/accounts/logout/", {"next": link})
    assert out.headers["Location"] == link
    sam_client.force_login(sam, backend="django.contrib.auth.backends.ModelBackend")
    assert "sent to cyd@example.com" in sam_client.post(link, follow=True).content.decode()
    assert not Membership.objects.filter(organization=organization, user=sam).exists()
    # With that address added to the account, it is theirs.
    EmailAddress.objects.create(user=sam, email="CYD@example.com", verified=False, primary=False)
    sam_client.post(link)
    assert Membership.objects.filter(organization=organization, user=sam).exists()


def test_a_second_click_changes_nothing(
    cyds: Invitation, cyd: User, cyd_client: Client, joined: list[Membership]
) -> None:
    link = link_in_the_mail()
    for _click in range(2):
        assert "Welcome" in cyd_client.post(link, follow=True).content.decode()
    assert len(joined) == 1


def test_a_used_one_lets_nobody_back(
    cyds: Invitation, cyd: User, cyd_client: Client, organization: Organization
) -> None:
    link = link_in_the_mail()
    cyd_client.post(link)
    Membership.objects.filter(user=cyd, organization=organization).delete()
    cyd_client.post(link)
    assert not Membership.objects.filter(user=cyd, organization=organization).exists()
    assert cyd_client.get(link).status_code == 410


def test_an_expired_one_is_refused(cyds: Invitation, cyd: User, cyd_client: Client) -> None:
    link = link_in_the_mail()
    Invitation.objects.update(expires_at=timezone.now())
    assert cyd_client.get(link).status_code == 410
    assert "has expired" in cyd_client.post(link, follow=True).content.decode()
    assert not Membership.objects.filter(user=cyd, organization=cyds.organization).exists()


def test_one_that_was_taken_back_is_refused(
    cyds: Invitation, ada_client: Client, cyd: User, cyd_client: Client, address: str
) -> None:
    link = link_in_the_mail()
    assert ada_client.post(f"/invitations/{cyds.public_id}/revoke/").headers["Location"] == address
    assert "taken back" in cyd_client.post(link, follow=True).content.decode()
    assert not Membership.objects.filter(user=cyd, organization=cyds.organization).exists()
    assert ada_client.post(f"/invitations/{cyds.public_id}/revoke/").status_code == 404


def test_it_is_sent_again_with_a_new_link(cyds: Invitation, ada_client: Client, cyd_client: Client) -> None:
    first = link_in_the_mail()
    resend = f"/invitations/{cyds.public_id}/resend/"
    assert "on its way already" in ada_client.post(resend, follow=True).content.decode()
    Invitation.objects.update(mailed_at=timezone.now() - timedelta(hours=1), expires_at=timezone.now())
    assert "A new mail is on its way" in ada_client.post(resend, follow=True).content.decode()
    second = link_in_the_mail()
    assert cyd_client.get(first).status_code == 404
    assert cyd_client.get(second).status_code == 200
    assert len(mail.outbox) == 2


def test_another_invitation_replaces_the_first(cyds: Invitation, ada: User, cyd: User, cyd_client: Client) -> None:
    first = link_in_the_mail()
    invite(organization=cyds.organization, email=cyd.email, role=Role.ADMIN, by=ada)
    assert cyd_client.get(first).status_code == 410
    cyd_client.post(link_in_the_mail())
    assert Membership.objects.get(organization=cyds.organization, user=cyd).role == Role.ADMIN


@pytest.mark.parametrize("token", ["wrong", "a" * 5000])
def test_a_link_that_is_none(cyd_client: Client, token: str) -> None:
    assert cyd_client.get(f"/invitation/{token}/").status_code == 404
    assert cyd_client.post(f"/invitation/{token}/").status_code == 404


def test_who_may_not_manage_people_has_no_way_in(
    cyds: Invitation, ben_client: Client, cyd_client: Client, address: str
) -> None:
    join_links = address.replace("invitations", "join-links")
    for client, status in ((ben_client, 403), (cyd_client, 404)):
        assert client.get(address).status_code == status
        assert client.post(address, {"emails": "x@example.com", "role": "member"}).status_code == status
        assert client.get(join_links).status_code == status
        for act in ("resend", "revoke"):
            assert client.post(f"/invitations/{cyds.public_id}/{act}/").status_code == status


def test_an_admin_invites_no_owner(ben: User, ben_client: Client, organization: Organization, address: str) -> None:
    organization.memberships.filter(user=ben).update(role=Role.ADMIN)
    assert ben_client.post(address, {"emails": "x@example.com", "role": "owner"}).status_code == 400
    with pytest.raises(PermissionDenied):
        invite(organization=organization, email="x@example.com", role=Role.OWNER, by=ben)


def test_the_mail_is_tried_again(cyds: Invitation, settings: LazySettings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    send_invitation(pk=cyds.pk)
    cyds.refresh_from_db()
    assert (cyds.mail_attempts, cyds.mailed_at) == (1, None)
    assert cyds.mail_due_at is not None
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    send_waiting_invitations()
    assert mail.outbox == []
    Invitation.objects.update(mail_due_at=timezone.now())
    send_waiting_invitations()
    send_waiting_invitations()
    assert len(mail.outbox) == 1


def test_what_was_taken_back_is_not_mailed(cyds: Invitation, ada: User) -> None:
    revoke_invitation(invitation=cyds, by=ada)
    send_invitation(pk=cyds.pk)
    send_waiting_invitations()
    assert mail.outbox == []


def test_nobody_sends_mail_without_end(ada: User, organization: Organization) -> None:
    Invitation.objects.bulk_create(
        Invitation(
            organization=organization,
            email=f"p{number}@example.com",
            role=Role.MEMBER,
            invited_by=ada,
            expires_at=timezone.now(),
            revoked_at=timezone.now(),
        )
        for number in range(200)
    )
    with pytest.raises(RefusedError, match="within a day"):
        invite(organization=organization, email="x@example.com", role=Role.MEMBER, by=ada)


def test_the_list_takes_as_many_queries_for_many(
    ada: User, ada_client: Client, organization: Organization, address: str
) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert ada_client.get(address).status_code == 200
        return len(queries)

    invite(organization=organization, email="first@example.com", role=Role.MEMBER, by=ada)
    few = count()
    Invitation.objects.bulk_create(
        Invitation(
            organization=organization,
            email=f"p{number:03}@example.com",
            role=Role.MEMBER,
            invited_by=ada,
            expires_at=timezone.now(),
        )
        for number in range(120)
    )
    # Session, user, organization, two for rights, choices of projects, invitations, their projects, switcher, bell.
    assert count() == few <= 12
    sorted_by = ada_client.get(address, {"sort": "address", "q": "p0"}).context["page"].items
    assert [one.email for one in sorted_by][:2] == ["p000@example.com", "p001@example.com"]


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_make_one_member(cyds: Invitation, cyd: User) -> None:
    outcomes = at_once(
        lambda: accept_invitation(invitation=cyds, user=cyd), lambda: accept_invitation(invitation=cyds, user=cyd)
    )
    assert outcomes == [None, None]
    assert Membership.objects.filter(user=cyd, organization=cyds.organization).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_invitations_at_once_are_one(ada: User, organization: Organization) -> None:
    outcomes = at_once(
        lambda: invite(organization=organization, email="x@example.com", role=Role.MEMBER, by=ada),
        lambda: invite(organization=organization, email="x@example.com", role=Role.MEMBER, by=ada),
    )
    assert outcomes == [None, None]
    assert Invitation.objects.pending().count() == 1


def test_who_is_removed_has_left_no_way_back(
    ada: User, ben: User, sam: User, organization: Organization, sam_client: Client
) -> None:
    bens = organization.memberships.get(user=ben)
    organization.memberships.filter(user=ben).update(role=Role.ADMIN)
    invite(organization=organization, email=sam.email, role=Role.ADMIN, by=ben)
    link = link_in_the_mail()
    remove_member(membership=bens, by=ada)
    assert sam_client.get(link).status_code == 410
    assert "does not manage this organization any more" in sam_client.post(link, follow=True).content.decode()
    assert not organization.memberships.filter(user=sam).exists()


def test_who_is_removed_has_no_second_address_to_come_back_by(ada: User, ben: User, organization: Organization) -> None:
    bens = organization.memberships.get(user=ben)
    EmailAddress.objects.create(user=ben, email="Ben@Home.example.com", verified=True)
    known = invite(organization=organization, email="ben@home.example.com", role=Role.MEMBER, by=ada)
    unknown = invite(organization=organization, email="ben@later.example.com", role=Role.MEMBER, by=ada)
    others = invite(organization=organization, email="x@example.com", role=Role.MEMBER, by=ada)
    remove_member(membership=bens, by=ada)
    assert set(Invitation.objects.pending()) == {unknown, others}
    EmailAddress.objects.create(user=ben, email="ben@later.example.com", verified=True)
    for offer in (known, unknown):
        with pytest.raises(RefusedError, match="taken back"):
            accept_invitation(invitation=offer, user=ben)
    again = invite(organization=organization, email="ben@later.example.com", role=Role.MEMBER, by=ada)
    assert accept_invitation(invitation=again, user=ben)


def test_what_was_taken_back_meanwhile_is_not_sent_again(cyds: Invitation, ada: User) -> None:
    revoke_invitation(invitation=cyds, by=ada)
    with pytest.raises(RefusedError, match="meanwhile"):
        resend_invitation(invitation=cyds, by=ada)

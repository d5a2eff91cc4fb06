"""Erasing an account: dead at once, and nothing that leads to the person afterwards."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import cast

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.core.mail import EmailMessage
from django.db import connection
from django.db.models import Sum
from django.test import Client
from django.utils import timezone

from accounts import jobs
from accounts.audit import person_token
from accounts.cohorts.services import create_cohort
from accounts.erasure import NotYetError, erase_account, request_erasure
from accounts.errors import RefusedError
from accounts.exports import start_export
from accounts.invitations.links import join
from accounts.invitations.services import accept_invitation, invite, send_waiting_invitations
from accounts.mail import KeptMailBackend
from accounts.models import (
    AccountErasure,
    AuditEvent,
    AuditOrigin,
    AuditPerson,
    Invitation,
    JobState,
    KeptMail,
    Membership,
    Organization,
    Project,
    ServiceAccount,
    User,
)
from accounts.organizations.services import create_organization, leave_organization
from accounts.roles import Role
from accounts.services import open_workspace
from apikeys.models import ApiKey, KeySecret
from apikeys.services import disable_key, mint_key, mint_management_key
from apikeys.terms import Terms
from apikeys.verification import digests_of
from common import redis as servers
from community.services import cast_vote
from forum import services as forum
from forum.models import Question
from playground.models import Run
from tests.conftest import PASSWORD, client_of, person
from tests.races import at_once
from tests.usage.ledger import add_call, add_usage
from usage.models import UsageRollup15Min
from usage.policies import load
from webhooks.services import create_endpoint

NAME, ADDRESS, HOST = "Zelda Quux", "zelda.quux@example.com", "203.0.113.77"
DESCRIBED = Terms(description=f"Only for {NAME}", allowed_networks=(f"{HOST}/32",))
PAGE = "/settings/data/erase/"


@pytest.fixture
def zelda(db: None) -> User:
    user = person("Zelda")
    user.name, user.email = NAME, ADDRESS
    user.save()
    EmailAddress.objects.create(user=user, email=ADDRESS, verified=True, primary=True)
    return user


@pytest.fixture
def zeldas(zelda: User) -> Project:
    """Her own project, in which she has worked."""
    project = Project.objects.for_member(zelda)[0]
    User.objects.filter(pk=zelda.pk).update(last_project=project)
    return project


def browser(user: User) -> Client:
    client = Client(REMOTE_ADDR=HOST)
    assert client.post("/accounts/login/", {"login": user.email, "password": PASSWORD}).status_code == 302
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def rows_that_say(*needles: str) -> dict[str, int]:
    """How many rows of each table say one of the needles in any column."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            condition = " OR ".join(["(row.*)::text ILIKE %s"] * len(needles))
            # Names of tables come from the database itself.
            cursor.execute(
                f'SELECT count(*) FROM "{table}" AS row WHERE {condition}',  # noqa: S608
                [f"%{needle}%" for needle in needles],
            )
            if count := cursor.fetchone()[0]:
                found[table] = count
    return found


def keys_that_say(needle: str) -> Iterator[str]:
    """What Redis holds for longer than limits count, and says the needle."""
    for client in (servers.durable(), servers.volatile()):
        for key in client.scan_iter():
            with suppress(Exception):
                name = key if isinstance(key, str) else key.decode()
                if not 0 <= cast(int, client.ttl(key)) <= 300 and needle in f"{name} {client.dump(key)!r}":
                    yield name


def test_it_works(zelda: User, zeldas: Project, ada: User) -> None:
    key, secret = mint_key(project=zeldas, name="Zelda Quux's laptop", by=zelda)
    add_call(zeldas, timezone.now(), key=key, model="qwen3-8b")
    add_usage(zeldas, timezone.now(), key=key, requests=3, prompt_tokens=100, cost_nano=7)
    Run.objects.create(user=zelda, project=zeldas, model_name="m", messages=[{"role": "user", "content": NAME}])
    question = forum.ask(author=ada, title="Why does it stall?", source="It stops.", tags=[])
    own = forum.ask(author=zelda, title="Another one", source="It goes.", tags=[])
    forum.answer(question=question, author=zelda, source="A proxy buffers.")
    cast_vote(post=question.post, voter=zelda, value=1)
    KeptMailBackend().send_messages([EmailMessage("Hello", f"For {NAME}", to=[ada.email])])
    client = browser(zelda)
    start_export(user=zelda)
    assert rows_that_say(NAME, ADDRESS, HOST)
    sums = UsageRollup15Min.objects.aggregate(Sum("requests"), Sum("prompt_tokens"), Sum("cost_nano"))

    assert "signed “Deleted user”" in client.get(PAGE).content.decode()
    assert client.post(PAGE, {"address": "somebody@example.com"}).status_code == 400
    gone = client.post(PAGE, {"address": ADDRESS.upper()}).headers["Location"]
    assert client.get("/keys/").status_code == 302
    assert load(digests_of(secret)[0]) is None
    assert "Your account is being erased" in client.get(gone).content.decode()

    erasure = AccountErasure.objects.get()
    erase_account(erasure=erasure)
    assert erasure.state == JobState.DONE
    assert "Your account is erased" in client.get(gone).content.decode()
    assert rows_that_say(NAME, ADDRESS, HOST) == {}
    assert [name for needle in (NAME, ADDRESS, HOST) for name in keys_that_say(needle)] == []
    assert UsageRollup15Min.objects.aggregate(Sum("requests"), Sum("prompt_tokens"), Sum("cost_nano")) == sums
    page = client.get(f"/forum/questions/{question.public_id}/{question.slug}/").content.decode()
    assert "Deleted user" in page
    assert Question.objects.filter(pk=own.pk).exists()
    question.post.refresh_from_db()
    assert question.post.score == 1
    zelda.refresh_from_db()
    assert (zelda.is_active, zelda.name, str(zelda)) == (False, "", "Deleted user")


def test_what_the_person_did_among_others_says_nothing_of_them(zelda: User, ada: User, project: Project) -> None:
    organization = project.organization
    invite(organization=organization, email=ADDRESS, role=Role.ADMIN, by=ada)
    accept_invitation(invitation=Invitation.objects.get(), user=zelda)
    endpoint, _secret = create_endpoint(
        organization=organization, url="https://example.org/hook", description="", event_types=[], by=zelda
    )
    key, secret = mint_key(project=project, name="Zelda Quux's laptop", by=zelda, terms=DESCRIBED)
    management, opens = mint_management_key(owner=zelda, name="Zelda Quux's terraform", terms=DESCRIBED)
    disabled, _secret = mint_management_key(owner=zelda, name="Zelda Quux's other", terms=DESCRIBED)
    disable_key(key=disabled, by=zelda)
    KeySecret.objects.update(last_used_at=timezone.now(), last_used_address=HOST, last_used_agent=f"{NAME}/1.0")
    add_usage(project, timezone.now(), key=key, requests=3, prompt_tokens=100, cost_nano=7)
    invite(
        organization=Project.objects.for_member(ada)[0].organization,
        email="dora@example.com",
        role=Role.GUEST,
        by=zelda,
    )
    lab = create_organization(name="Lab", by=ada).organization
    invite(organization=lab, email=ADDRESS, role=Role.VIEWER, by=ada)
    send_waiting_invitations()
    cohort = create_cohort(
        organization=organization,
        name="Compilers",
        ends_at=timezone.now() + timedelta(days=7),
        most_joins=30,
        limits={},
        by=zelda,
    )
    other = create_cohort(
        organization=lab, name="Summer", ends_at=timezone.now() + timedelta(days=7), most_joins=3, limits={}, by=ada
    )
    join(link=other.join_link, user=zelda)
    browser(zelda)
    sums = UsageRollup15Min.objects.aggregate(Sum("requests"), Sum("prompt_tokens"), Sum("cost_nano"))
    found = rows_that_say(NAME, ADDRESS, HOST)
    assert {"apikeys_apikey", "apikeys_keysecret", "accounts_invitation", "webhooks_message"} <= found.keys()

    erasure = request_erasure(user=zelda)
    assert load(digests_of(secret)[0]) is None
    assert Client().get("/api/keys/", headers={"authorization": f"Bearer {opens}"}).status_code == 401
    assert not ApiKey.objects.filter(owner=zelda, revoked_at=None).exists()
    erase_account(erasure=erasure)
    assert rows_that_say(NAME, ADDRESS, HOST) == {}
    assert [name for needle in (NAME, ADDRESS, HOST) for name in keys_that_say(needle)] == []
    assert UsageRollup15Min.objects.aggregate(Sum("requests"), Sum("prompt_tokens"), Sum("cost_nano")) == sums
    key.refresh_from_db()
    assert (key.name, key.description, key.is_revoked) == (key.hint, "", True)
    assert not ApiKey.objects.filter(pk__in=[management.pk, disabled.pk]).exists()
    for made in (endpoint, cohort, cohort.join_link):
        made.refresh_from_db()
        assert made.created_by is None
    sent = Invitation.objects.get()
    assert (sent.email, sent.invited_by) == ("dora@example.com", None)
    assert sent.revoked_at is not None
    assert not Membership.objects.filter(user=zelda).exists()


def test_the_log_keeps_its_rows_and_forgets_who(zelda: User) -> None:
    token = person_token(zelda)
    client = browser(zelda)
    client.post(PAGE, {"address": ADDRESS})
    assert AuditOrigin.objects.filter(person=token).exists()
    erase_account(erasure=AccountErasure.objects.get())
    assert AuditEvent.objects.filter(action="account.erasure_requested", actor=token).exists()
    assert not AuditOrigin.objects.filter(person=token).exists()
    assert AuditPerson.objects.get(token=token).user is None


def test_doing_it_twice_changes_nothing_more(zelda: User) -> None:
    erasure = request_erasure(user=zelda)
    erase_account(erasure=erasure)
    zelda.refresh_from_db()
    first = zelda.public_id
    AccountErasure.objects.update(state=JobState.WAITING)
    erase_account(erasure=AccountErasure.objects.get())
    assert AccountErasure.objects.get().state == JobState.DONE
    zelda.refresh_from_db()
    assert zelda.name == ""
    assert zelda.public_id != first


def test_it_is_never_given_up(zelda: User) -> None:
    erasure = request_erasure(user=zelda)

    def fail() -> None:
        raise ZeroDivisionError

    for _attempt in range(20):
        with suppress(ZeroDivisionError):
            jobs.work(erasure, [fail], gives_up=False)
    assert AccountErasure.objects.get().state == JobState.WAITING
    # It waits longer the more often it failed, and is begun again all the same.
    for passed, is_due in ((timedelta(hours=1), False), (timedelta(hours=5), True)):
        AccountErasure.objects.update(heartbeat_at=timezone.now() - passed)
        assert jobs.left_behind(AccountErasure.objects.all()).exists() == is_due
    AccountErasure.objects.update(attempts=1, heartbeat_at=timezone.now() - timedelta(minutes=3))
    assert jobs.left_behind(AccountErasure.objects.all()).exists()
    erase_account(erasure=erasure)
    assert AccountErasure.objects.get().state == JobState.DONE


def test_what_is_shared_goes_on(zelda: User, ada: User, project: Project) -> None:
    Membership.objects.create(organization=project.organization, user=zelda, role=Role.ADMIN)
    robot = ServiceAccount.objects.create(project=project, name="robot", created_by=zelda)
    _key, secret = mint_key(project=project, name="robot", by=zelda, service_account=robot)
    own = Project.objects.for_member(zelda)[0].organization
    erase_account(erasure=request_erasure(user=zelda))
    assert load(digests_of(secret)[0]) is not None
    robot.refresh_from_db()
    assert robot.created_by is None
    assert not Organization.objects.filter(pk=own.pk).exists()
    assert list(project.organization.members.all()) == [ada]


def test_what_others_call_things_by_stays_and_the_page_says_so(zelda: User, ada: User) -> None:
    shared = create_organization(name=f"{NAME} and friends", by=zelda).organization
    Membership.objects.create(organization=shared, user=ada, role=Role.OWNER)
    client = Client()
    client.post("/accounts/login/", {"login": ADDRESS, "password": PASSWORD})
    asked = client.get(PAGE).headers["Location"]
    page = client.post(asked, {"password": PASSWORD}, follow=True).content.decode()
    assert "Names that you gave there stay" in page
    erase_account(erasure=request_erasure(user=zelda))
    assert Organization.objects.get(pk=shared.pk).name == f"{NAME} and friends"


def test_the_portal_names_nothing_after_a_person(ada: User) -> None:
    """So nothing that it named itself is left for an erasure to rename."""
    user = User.objects.create_user("quinn@example.com", name="Quinn")
    first = open_workspace(user=user)
    for named in (first, first.organization):
        assert "quinn" not in f"{named.name} {named.display_name}".lower()


def test_other_peoples_mail_stays_and_its_links_work(zelda: User, ada: User) -> None:
    EmailAddress.objects.create(user=zelda, email=ada.email, verified=False)
    for name in ("http", "reset"):
        zelda.name = name
        zelda.save()
        text = f"{name} invites you, {name}: see http://localhost:8000/password/reset/key?next=reset"
        KeptMailBackend().send_messages([EmailMessage(f"By {name}", text, to=[ada.email])])
    erase_account(erasure=request_erasure(user=zelda))
    other, newest = KeptMail.objects.filter(user=ada).order_by("pk")
    assert (other.subject, newest.subject) == ("By http", "By …")
    assert newest.body == "… invites you, …: see http://localhost:8000/password/reset/key?next=reset"


@pytest.mark.django_db(transaction=True)
def test_of_two_owners_who_go_at_once_one_stays(zelda: User, ada: User, project: Project) -> None:
    for user, role in ((zelda, Role.OWNER), (User.objects.create_user(email="m@example.com"), Role.MEMBER)):
        Membership.objects.create(organization=project.organization, user=user, role=role)
    went = at_once(lambda: request_erasure(user=zelda), lambda: request_erasure(user=ada))
    assert sorted(str(type(one).__name__) for one in went) == ["NoneType", "NotYetError"]


def test_who_is_being_erased_is_no_owner_to_leave_it_to(zelda: User, ada: User, project: Project) -> None:
    organization = project.organization
    Membership.objects.create(organization=organization, user=zelda, role=Role.OWNER)
    request_erasure(user=zelda)
    with pytest.raises(RefusedError):
        leave_organization(membership=Membership.objects.get(organization=organization, user=ada))


def test_the_only_owner_hands_over_first(zelda: User, ada: User) -> None:
    organization = Organization.objects.create(name="Lab")
    Membership.objects.create(organization=organization, user=zelda, role=Role.OWNER)
    adas = Membership.objects.create(organization=organization, user=ada, role=Role.ADMIN)
    client = browser(zelda)
    assert "You are the only owner of Lab" in client.get(PAGE).content.decode()
    client.post(PAGE, {"address": ADDRESS})
    with pytest.raises(NotYetError):
        request_erasure(user=zelda)
    assert client.get("/keys/").status_code == 200
    adas.role = Role.OWNER
    adas.save()
    request_erasure(user=zelda)
    assert UserSession.objects.filter(user=zelda).exists()
    assert client.get("/keys/").status_code == 302


def test_the_only_staff_account_stays(sam: User) -> None:
    with pytest.raises(NotYetError, match="only staff account"):
        request_erasure(user=sam)


def test_it_asks_for_the_password_again(zelda: User) -> None:
    client = Client()
    client.post("/accounts/login/", {"login": ADDRESS, "password": PASSWORD})
    assert client.get(PAGE).headers["Location"].startswith("/accounts/reauthenticate/")
    client.post(PAGE, {"address": ADDRESS})
    assert not AccountErasure.objects.exists()


def test_who_has_no_password_signs_in_anew(zelda: User) -> None:
    zelda.set_unusable_password()
    zelda.save()
    elsewhere = client_of(zelda)
    assert elsewhere.get(PAGE).headers["Location"] == f"/accounts/login/?next={PAGE}"
    assert elsewhere.get("/keys/").status_code == 302


@pytest.mark.django_db
def test_a_guessed_erasure_is_not_found(client: Client) -> None:
    assert client.get("/erased/erasure_guess/").status_code == 404

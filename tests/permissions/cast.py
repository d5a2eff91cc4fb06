"""One person of each role, gathered around one project, and what stands behind the addresses they try."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from allauth.account.internal.flows.login import record_authentication
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.files.base import ContentFile
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts.access import SESSION_KEY
from accounts.invitations.services import invite
from accounts.models import (
    AccountErasure,
    AccountExport,
    AuditEvent,
    AuditOrigin,
    AuditSeal,
    Invitation,
    JobState,
    JoinLink,
    KeptMail,
    Membership,
    Organization,
    Project,
    Removal,
    TermsAcceptance,
    TermsVersion,
    User,
)
from accounts.projects.services import archive_project, create_project, set_place
from accounts.roles import ProjectRole, Role
from accounts.sessions import SEEN, handle_of
from apikeys.models import ApiKey, KeyPolicy
from apikeys.services import disable_key, mint_key, mint_management_key
from apikeys.terms import Terms
from catalog.models import Backend, ModelPrice
from common.tokens import new_token, token_hash
from community.models import ModerationAct, Post, Vote
from forum import services as forum
from forum.models import Question
from notifications.models import MailPreference, Notification
from notifications.services import unsubscribe_token
from playground.models import Run, RunStatus
from tests.conftest import client_of, person
from tests.fakes.inference_server import FakeInferenceServer
from tests.pages import build_world
from usage.models import ROLLUPS, BudgetAlert, SizeOnDay


@dataclass(frozen=True)
class Cast:
    """The sessions by role, and the names that the table holds in braces: those of everybody, and a role's own."""

    sessions: dict[str, str]
    names: dict[str, str]
    own_names: dict[str, dict[str, str]]
    savepoint: str
    """What every request that changed something is taken back to."""
    management_keys: dict[str, str]
    """Secrets of management keys by what they are to show: those of the owner and of the stranger, and two that open
    less."""

    def names_for(self, role: str) -> dict[str, str]:
        return {**self.names, **self.own_names.get(role, {"own_id": "nobody", "own_address": "nobody@example.com"})}


@contextmanager
def gathered() -> Iterator[Cast]:
    """The people and their world. The owner is whose project, keys and posts the addresses are about."""
    with FakeInferenceServer() as server:
        ada, cyd, sam = person("Ada"), person("Cyd"), person("Sam", is_staff=True)
        names = build_world(ada=ada, cyd=cyd, sam=sam)
        project = Project.objects.get(public_id=names["project"])
        people = {"owner": ada, "stranger": cyd, "staff": sam}
        for name, role in (("Amy", Role.ADMIN), ("Ben", Role.MEMBER), ("Vic", Role.VIEWER), ("Bil", Role.BILLING)):
            people[role.value] = _member(name, project.organization, role).user
        guest = _member("Pia", project.organization, Role.GUEST)
        set_place(project=project, membership=guest, role=ProjectRole.PARTICIPANT, by=ada)
        people["participant"] = guest.user
        for user in people.values():
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        Backend.objects.update(base_url=server.base_url)
        export = _export(ada)
        try:
            yield Cast(
                sessions={role: _session(user, project) for role, user in people.items()},
                names={**names, **_more_names(project, people, names), "export": export.public_id}
                | {"server": server.base_url, **_rows_of_the_admin(elsewhere=Organization.objects.for_member(cyd)[0])},
                own_names={
                    role: {"own_id": user.public_id, "own_address": user.email} for role, user in people.items()
                },
                management_keys=_management_keys(project, ada, cyd),
                savepoint=transaction.savepoint(),
            )
        finally:
            export.file.delete(save=False)


def _member(name: str, organization: Organization, role: Role) -> Membership:
    return Membership.objects.create(organization=organization, user=person(name), role=role)


def _session(user: User, project: Project) -> str:
    """Of somebody who has just given their password, and works in the project if it is theirs."""
    session = client_of(user).session
    session[SESSION_KEY] = project.public_id
    # Not written anew, which no refusal may do, also where the table takes longer than what is seen is believed.
    session[SEEN] = int(time.time()) + 24 * 3600
    request = HttpRequest()
    request.session = session
    record_authentication(request, user, method="password", reauthenticated=True)
    session.save()
    return str(session.session_key)


def _export(user: User) -> AccountExport:
    until = timezone.now() + timedelta(days=1)
    export = AccountExport.objects.create(user=user, state=JobState.DONE, expires_at=until)
    export.file.save("copy.zip", ContentFile(b"everything"))
    return export


def _management_keys(project: Project, owner: User, stranger: User) -> dict[str, str]:
    return {
        "owner": mint_management_key(owner=owner, name="whole")[1],
        "stranger": mint_management_key(owner=stranger, name="whole")[1],
        "owner who only reads": mint_management_key(owner=owner, name="reading", terms=Terms(is_read_only=True))[1],
        "project": mint_key(project=project, name="models only", by=owner)[1],
    }


def _more_names(project: Project, people: dict[str, User], names: dict[str, str]) -> dict[str, str]:
    """What pages do not need and their buttons do."""
    ada, organization = people["owner"], project.organization
    key = ApiKey.objects.get(public_id=names["key"])
    disabled, _secret = mint_key(project=project, name="paused", by=ada)
    disable_key(key=disabled, by=ada)
    _found, found_secret = mint_key(project=project, name="found", by=ada)
    archived = create_project(organization=organization, name="Last year", by=ada)
    archive_project(project=archived, by=ada)
    Invitation.objects.update(mail_due_at=None, mailed_at=timezone.now() - timedelta(days=1))
    invitation = Invitation.objects.get(organization=organization)
    strangers = invite(organization=organization, email=people["stranger"].email, role=Role.MEMBER, by=ada)
    token = new_token()
    Invitation.objects.filter(pk=strangers.pk).update(token_hash=token_hash(token))
    # Without one of their own an owner cannot ask it of others.
    TOTP.activate(ada, generate_totp_secret())
    elsewhere = UserSession.objects.create(user=ada, session_key="elsewhere", ip="127.0.0.1", user_agent="")
    gone = User.objects.create_user("gone@example.com", name="Gone")
    security_key = Authenticator.objects.create(user=gone, type=Authenticator.Type.WEBAUTHN, data={"name": "Key"})
    lonely = forum.ask(author=ada, title="Does anybody read this?", source="Nobody has answered so far.", tags=[])
    run = Run.objects.get(public_id=names["run"])
    running = Run.objects.create(
        user=ada, project=project, model_name=run.model_name, messages=run.messages, status=RunStatus.RUNNING
    )
    cyds = Project.objects.for_member(people["stranger"])[0]
    return {
        "old_secret": key.secrets.exclude(valid_until=None).get().public_id,
        "disabled_key": disabled.public_id,
        "found_secret": found_secret,
        "archived": archived.public_id,
        "invitation": invitation.public_id,
        "strangers_invitation_token": token,
        "join_link": JoinLink.objects.get(organization=organization, name="The team").public_id,
        "security_key": str(security_key.pk),
        "session": handle_of(elsewhere),
        "erasure": AccountErasure.objects.create(user=gone).public_id,
        "terms": str(TermsVersion.objects.get().number),
        "participant": people["participant"].public_id,
        "notification": Notification.objects.filter(recipient=ada)[0].public_id,
        "unsubscribe_token": unsubscribe_token(ada),
        "answer": Post.objects.get(public_id=names["others_post"]).answer.public_id,
        "lonely_post": lonely.post.public_id,
        "act": ModerationAct.objects.get().public_id,
        "running": running.public_id,
        "project_number": str(project.pk),
        "strangers_organization": cyds.organization.public_id,
        "strangers_project": cyds.public_id,
        "strangers_key": mint_key(project=cyds, name="mine", by=people["stranger"])[0].public_id,
    }


def _rows_of_the_admin(*, elsewhere: Organization) -> dict[str, str]:
    """The id of a row of each model that the admin has pages of; what nothing has made so far is made here.

    `elsewhere` is not the owner's, and something was done there.
    """
    gone = User.objects.get(email="gone@example.com")
    event = AuditEvent.objects.filter(organization_id=elsewhere.public_id)[0]
    AuditOrigin.objects.create(event_id=event.pk, person="person", address="192.0.2.1")
    AuditSeal.objects.create(event_id=event.pk, month=event.at.date().replace(day=1), number=1, hash="")
    KeptMail.objects.create(user=gone, recipient=gone.email, subject="Welcome", body="Welcome.")
    Removal.objects.create(user=gone, organization=elsewhere)
    TermsAcceptance.objects.create(user=gone, version=TermsVersion.objects.get())
    KeyPolicy.objects.create(organization=elsewhere)
    MailPreference.objects.create(user=gone)
    question = Question.objects.all()[0]
    forum.comment(question=question, on=question.post, author=gone, source="It does that here as well.")
    Vote.objects.create(post=question.post, voter=gone, value=1)
    ModelPrice.objects.create(model="gone", input_price_nano=1, output_price_nano=1, set_by=gone)
    for sums in ROLLUPS:
        sums.objects.create(bucket_at=event.at, **({"status": 200} if "status" in sums.CELL else {}))
    SizeOnDay.objects.get_or_create(day=event.at.date(), defaults={"database_bytes": 1, "files_bytes": 1})
    BudgetAlert.objects.create(counter="gone", percent=80, limit_nano=10, used_nano=8, ends_at=event.at)
    Group.objects.create(name="Operators")
    provider = SocialApp.objects.create(provider="openid_connect", provider_id="closed", name="Closed", client_id="x")
    account = SocialAccount.objects.create(user=gone, provider="closed", uid="1")
    SocialToken.objects.create(app=provider, account=account, token="none")
    rows = {
        model._meta.label_lower.replace(".", "_"): model._default_manager.all()[0] for model in admin.site._registry
    }
    # Nothing hangs on this one that would keep it: which of the others comes first, PostgreSQL does not say.
    rows["accounts_user"] = User.objects.create_user("leaving@example.com", name="Leaving")
    return {name: str(row.pk) for name, row in rows.items()}

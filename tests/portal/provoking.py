"""How each act of the audit log comes about: by the page or the service that people use."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from allauth.account.models import EmailAddress
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from allauth.socialaccount import signals as social
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.usersessions.models import UserSession
from django.core import mail
from django.dispatch import Signal
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts.cohorts import services as cohorts
from accounts.invitations import links
from accounts.invitations import services as invitations
from accounts.limits import services as limits
from accounts.models import (
    Cohort,
    Invitation,
    JoinLink,
    Membership,
    Organization,
    Plan,
    Project,
    ServiceAccount,
    User,
)
from accounts.organizations import services as organizations
from accounts.plans import services as plans
from accounts.projects import services as projects
from accounts.roles import ProjectRole, Role
from accounts.second_factor import require_second_factor
from accounts.services import invite_operator
from accounts.sessions import handle_of
from apikeys import services as keys
from apikeys.models import ApiKey, KeyMakers
from catalog import services as catalog
from catalog.models import Backend, BackendKind, Deployment, HostedModel
from community import moderation
from community.models import FlagReason, Post, Tag
from community.services import raise_flag
from forum import services as forum
from tests.catalog.servers import openai, serving
from tests.conftest import PASSWORD, client_of
from usage.models import CreditGrant
from webhooks import services as webhooks
from webhooks.models import Endpoint

SIGN_IN, RESET = "/accounts/login/", "/accounts/password/reset/"


@dataclass(frozen=True)
class Stage:
    """Ada with a verified address, her project; Cyd, a stranger; Sam of the staff."""

    ada: User
    cyd: User
    sam: User
    project: Project

    @property
    def organization(self) -> Organization:
        return self.project.organization

    def sign_in(self, email: str = "ada@example.com", password: str = PASSWORD) -> Client:
        client = Client()
        client.post(SIGN_IN, {"login": email, "password": password})
        return client

    def in_admin(self, path: str, **fields: str) -> None:
        response = client_of(self.sam).post(f"/admin/{path}", fields)
        assert response.status_code == 302, response.content

    def post(self) -> Post:
        return forum.ask(author=self.cyd, title="Why does it stall?", source="It stops for seconds.").post

    def backend(self) -> Backend:
        return Backend.objects.create(name="gpu-1", base_url="http://127.0.0.1:9/v1", kind=BackendKind.VLLM)

    def model(self) -> HostedModel:
        return HostedModel.objects.create(public_name="qwen3-8b")

    def deployment(self) -> Deployment:
        return Deployment.objects.create(hosted_model=self.model(), backend=self.backend(), backend_name="qwen3-8b")

    def edit_model(self, **changes: int | str) -> None:
        same = {
            "description": "",
            "input_price_nano": 0,
            "output_price_nano": 0,
            "context_window": None,
            "max_output_tokens": None,
            "uses": ["chat"],
            "is_visible": True,
            "aliases": [],
            "fallback": None,
            "deprecated_on": None,
            "retires_on": None,
            "successor": None,
        }
        catalog.edit_model(hosted_model=self.model(), by=self.sam, **same | changes)  # type: ignore[arg-type]


def sign_up(_stage: Stage) -> None:
    new = {"email": "new@example.com", "password1": PASSWORD, "password2": PASSWORD}
    Client().post("/accounts/signup/", new)


def change_password(stage: Stage) -> None:
    new = "an even longer password"
    client_of(stage.ada).post(
        "/accounts/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new}
    )


def reset_password(stage: Stage) -> None:
    client = Client()
    client.post(RESET, {"email": stage.ada.email})
    link = next(word for word in str(mail.outbox[0].body).split() if "/password/reset/key/" in word)
    page = client.get(link.removeprefix("http://testserver"), follow=True)
    new = "an even longer password"
    client.post(page.request["PATH_INFO"], {"password1": new, "password2": new})


def second_address(stage: Stage, act: str) -> None:
    client = stage.sign_in()
    EmailAddress.objects.create(user=stage.ada, email="ada@example.org", verified=True)
    client.post("/accounts/email/", {act: "", "email": "ada@example.org"})


def add_address(stage: Stage) -> None:
    stage.sign_in().post("/accounts/email/", {"action_add": "", "email": "ada@example.org"})


def announce(signal: Signal, **said: object) -> None:
    """What allauth says once it has done it, for acts that take another site or a device."""
    signal.send(sender=None, request=RequestFactory().get("/"), **said)


def second_factor(stage: Stage, signal: Signal) -> None:
    announce(signal, user=stage.ada, authenticator=Authenticator(user=stage.ada, type=Authenticator.Type.TOTP))


def become_operator(_stage: Stage) -> None:
    Client().post(f"/setup/{invite_operator()}/", {"email": "new@example.com", "password": "a very long password 7"})


def hide(stage: Stage) -> Post:
    post = stage.post()
    moderation.hide_post(post=post, by=stage.sam, reason="Spam")
    return post


def lock(stage: Stage) -> Post:
    post = stage.post()
    moderation.lock_post(post=post, by=stage.sam)
    return post


def suspend(stage: Stage) -> None:
    moderation.suspend(person=stage.cyd, by=stage.sam, reason="Spam")


def readmit(stage: Stage) -> None:
    suspend(stage)
    moderation.readmit(person=stage.cyd, by=stage.sam)


def dismiss(stage: Stage) -> None:
    post = stage.post()
    raise_flag(post=post, flagger=stage.ada, reason=FlagReason.SPAM)
    moderation.dismiss_flags(post=post, by=stage.sam)


def connect_backend(stage: Stage) -> str:
    with serving(openai("qwen3-8b")) as server:
        catalog.connect_backend(name="gpu-1", base_url=server.url, by=stage.sam)
    return "gpu-1"


def move_backend(stage: Stage) -> None:
    name = connect_backend(stage)
    with serving(openai("qwen3-8b")) as server:
        catalog.connect_backend(name=name, base_url=server.url, by=stage.sam)


def tag_page(stage: Stage) -> str:
    return f"community/tag/{Tag.objects.create(name='stream').pk}"


def end_session(stage: Stage) -> None:
    here, there = stage.sign_in(), stage.sign_in()
    session = UserSession.objects.get(session_key=there.session.session_key)
    here.post(f"/settings/sessions/{handle_of(session)}/end/")


def proven(stage: Stage) -> Client:
    client = stage.sign_in()
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def erase(stage: Stage) -> None:
    proven(stage).post("/settings/data/erase/", {"address": stage.ada.email})


def publish_terms(stage: Stage) -> None:
    client_of(stage.sam).post("/terms/publish/", {"english": "Be kind.", "in_force_at": "2026-01-01T00:00"})


def accept_terms(stage: Stage) -> None:
    publish_terms(stage)
    client_of(stage.ada).post("/terms/1/accept/")


def take_factor(stage: Stage) -> None:
    factor = Authenticator.objects.create(user=stage.ada, type=Authenticator.Type.TOTP, data={"secret": "x"})
    stage.in_admin(f"accounts/secondfactor/{factor.pk}/delete/", post="yes")


def ask_for_second_factor(stage: Stage) -> None:
    Authenticator.objects.create(user=stage.ada, type=Authenticator.Type.TOTP, data={"secret": "x"})
    require_second_factor(organization=stage.organization, required=True, by=stage.ada)


def invitation(stage: Stage) -> Invitation:
    return invitations.invite(organization=stage.organization, email=stage.cyd.email, role=Role.GUEST, by=stage.ada)


def resend(stage: Stage) -> None:
    sent = invitation(stage)
    Invitation.objects.update(mail_due_at=None, mailed_at=None)
    invitations.resend_invitation(invitation=sent, by=stage.ada)


def member(stage: Stage) -> Membership:
    """Cyd, who came with an invitation."""
    invitations.accept_invitation(invitation=invitation(stage), user=stage.cyd)
    return Membership.objects.get(organization=stage.organization, user=stage.cyd)


def gain(stage: Stage) -> None:
    member(stage)
    links.join(link=join_link(stage, role=Role.MEMBER), user=stage.cyd)


def join_link(stage: Stage, *, role: Role = Role.GUEST) -> JoinLink:
    return links.create_join_link(
        organization=stage.organization,
        name="Autumn",
        role=role,
        most_joins=30,
        ends_at=timezone.now() + timedelta(days=7),
        by=stage.ada,
    )


def switch_off(stage: Stage) -> JoinLink:
    link = join_link(stage)
    links.switch_join_link(link=link, is_on=False, by=stage.ada)
    return link


def cohort(stage: Stage) -> Cohort:
    return cohorts.create_cohort(
        organization=stage.organization,
        name="Compilers",
        ends_at=timezone.now() + timedelta(days=7),
        most_joins=30,
        limits={"requests_per_minute": 20},
        by=stage.ada,
    )


def plan(stage: Stage) -> Plan:
    return plans.make_plan(changes={"name": "Starter"}, by=stage.sam)


def change_cohort(stage: Stage) -> None:
    made = cohort(stage)
    cohorts.change_cohort(
        cohort=made,
        name="Compilers",
        ends_at=timezone.now() + timedelta(days=7),
        most_joins=40,
        limits={},
        by=stage.ada,
    )


def archive(stage: Stage) -> None:
    projects.archive_project(project=stage.project, by=stage.ada)


def restore(stage: Stage) -> None:
    archive(stage)
    projects.restore_project(project=stage.project, by=stage.ada)


def place(stage: Stage) -> None:
    projects.set_place(project=stage.project, membership=member(stage), role=ProjectRole.MEMBER, by=stage.ada)


def service_account(stage: Stage) -> ServiceAccount:
    return projects.create_service_account(project=stage.project, name="nightly", description="", by=stage.ada)


def endpoint(stage: Stage) -> Endpoint:
    return webhooks.create_endpoint(
        organization=stage.organization, url="https://example.org/hook", description="", event_types=[], by=stage.ada
    )[0]


def switch_endpoint(stage: Stage, *states: bool) -> None:
    made = endpoint(stage)
    for state in states:
        webhooks.set_enabled(endpoint=made, enabled=state, by=stage.ada)


def key_of(stage: Stage) -> ApiKey:
    return keys.mint_key(project=stage.project, name="laptop", by=stage.ada)[0]


def change_key(stage: Stage) -> None:
    keys.change_key(key=key_of(stage), changes={"name": "desktop"}, by=stage.ada)


def rotate_key(stage: Stage) -> ApiKey:
    key = key_of(stage)
    keys.rotate_key(key=key, overlap=timedelta(hours=1), by=stage.ada)
    return key


def retire_secret(stage: Stage) -> None:
    keys.retire_secret(secret=rotate_key(stage).secrets.exclude(valid_until=None).get(), by=stage.ada)


def disable_key(stage: Stage) -> ApiKey:
    key = key_of(stage)
    keys.disable_key(key=key, by=stage.ada)
    return key


def leak_key(stage: Stage) -> None:
    _key, secret = keys.mint_key(project=stage.project, name="laptop", by=stage.ada)
    Client().post("/keys/found/", {"text": secret})


def change_policy(stage: Stage) -> None:
    keys.change_policy(
        organization=stage.project.organization,
        longest_lifetime_days=90,
        default_budget_nano=None,
        allowed_networks=(),
        makers=KeyMakers.MEMBERS,
        revokes_leaked=True,
        by=stage.ada,
    )


def grant_credits(stage: Stage) -> CreditGrant:
    asked = {"organization_id": stage.organization.public_id, "amount_nano": "100", "reason": "Welcome"}
    stage.in_admin("usage/creditgrant/add/", **asked)
    return CreditGrant.objects.get(organization_id=stage.organization.public_id)


def revoke_credits(stage: Stage) -> None:
    stage.in_admin("usage/creditrevocation/add/", grant=str(grant_credits(stage).pk), reason="Mistaken")


PROVOKED: dict[str, Callable[[Stage], object]] = {
    "user.signed_up": sign_up,
    "user.signed_in": lambda stage: stage.sign_in(),
    "user.sign_in_failed": lambda stage: stage.sign_in(password="wrong"),
    "user.unknown_sign_in_failed": lambda stage: stage.sign_in(email="nobody@example.com"),
    "user.signed_out": lambda stage: client_of(stage.ada).post("/accounts/logout/"),
    "user.password_changed": change_password,
    "user.password_reset": reset_password,
    "user.email_added": add_address,
    "user.email_changed": lambda stage: second_address(stage, "action_primary"),
    "user.email_removed": lambda stage: second_address(stage, "action_remove"),
    "user.second_factor_added": lambda stage: second_factor(stage, mfa.authenticator_added),
    "user.second_factor_removed": lambda stage: second_factor(stage, mfa.authenticator_removed),
    "user.second_factor_renewed": lambda stage: second_factor(stage, mfa.authenticator_reset),
    "user.social_account_connected": lambda stage: announce(
        social.social_account_added, sociallogin=SocialLogin(user=stage.ada)
    ),
    "user.social_account_removed": lambda stage: announce(
        social.social_account_removed, socialaccount=SocialAccount(user=stage.ada, provider="github")
    ),
    "user.operator_made": become_operator,
    "user.suspended": suspend,
    "user.readmitted": readmit,
    "second_factor.removed": take_factor,
    "session.ended": end_session,
    "account.export_started": lambda stage: proven(stage).post("/settings/data/export/"),
    "account.erasure_requested": erase,
    "terms.published": publish_terms,
    "terms.accepted": accept_terms,
    "organization.created": lambda stage: organizations.create_organization(name="Lab", by=stage.ada),
    "organization.limits_changed": lambda stage: limits.change_organization_limits(
        organization=stage.organization, changes={"time_zone": "Asia/Shanghai"}, by=stage.ada
    ),
    "organization.plan_changed": lambda stage: plans.assign_plan(
        organization=stage.organization, plan=plan(stage), by=stage.sam
    ),
    "organization.renamed": lambda stage: organizations.rename_organization(
        organization=stage.organization, name="Lab", by=stage.ada
    ),
    "organization.second_factor_changed": ask_for_second_factor,
    "member.joined": member,
    "member.gained": gain,
    "member.role_changed": lambda stage: organizations.change_role(
        membership=member(stage), role=Role.VIEWER, by=stage.ada
    ),
    "member.limits_changed": lambda stage: limits.change_member_limits(
        membership=member(stage), changes={"requests_per_day": 5}, by=stage.ada
    ),
    "member.removed": lambda stage: organizations.remove_member(membership=member(stage), by=stage.ada),
    "member.left": lambda stage: organizations.leave_organization(membership=member(stage)),
    "invitation.created": invitation,
    "invitation.resent": resend,
    "invitation.revoked": lambda stage: invitations.revoke_invitation(invitation=invitation(stage), by=stage.ada),
    "join_link.created": join_link,
    "join_link.switched_off": switch_off,
    "join_link.switched_on": lambda stage: links.switch_join_link(link=switch_off(stage), is_on=True, by=stage.ada),
    "cohort.created": cohort,
    "cohort.changed": change_cohort,
    "plan.created": plan,
    "plan.changed": lambda stage: plans.change_plan(plan=plan(stage), changes={"requests_per_day": 5}, by=stage.sam),
    "project.created": lambda stage: projects.create_project(
        organization=stage.organization, name="Evaluation", by=stage.ada
    ),
    "project.changed": lambda stage: projects.change_project(
        project=stage.project, name="Evaluation", is_open=False, ends_at=None, by=stage.ada
    ),
    "project.limits_changed": lambda stage: limits.change_project_limits(
        project=stage.project, changes={"requests_per_day": 5}, by=stage.ada
    ),
    "project.archived": archive,
    "project.restored": restore,
    "project.member_changed": place,
    "service_account.created": service_account,
    "service_account.changed": lambda stage: projects.change_service_account(
        account=service_account(stage), name="weekly", description="", by=stage.ada
    ),
    "service_account.removed": lambda stage: projects.remove_service_account(
        account=service_account(stage), by=stage.ada
    ),
    "webhook.created": endpoint,
    "webhook.changed": lambda stage: webhooks.change_endpoint(
        endpoint=endpoint(stage), url="https://example.org/other", description="", event_types=[], by=stage.ada
    ),
    "webhook.secret_rotated": lambda stage: webhooks.rotate_secret(endpoint=endpoint(stage), by=stage.ada),
    "webhook.disabled": lambda stage: switch_endpoint(stage, False),
    "webhook.enabled": lambda stage: switch_endpoint(stage, False, True),
    "webhook.removed": lambda stage: webhooks.remove_endpoint(endpoint=endpoint(stage), by=stage.ada),
    "admin.added": lambda stage: stage.in_admin("community/tag/add/", name="stream", description=""),
    "admin.changed": lambda stage: stage.in_admin(f"{tag_page(stage)}/change/", name="streams", description=""),
    "admin.deleted": lambda stage: stage.in_admin(f"{tag_page(stage)}/delete/", post="yes"),
    "credits.granted": grant_credits,
    "credits.revoked": revoke_credits,
    "backend.connected": connect_backend,
    "backend.changed": move_backend,
    "backend.enabled": lambda stage: catalog.set_backend_enabled(
        backend=stage.backend(), is_enabled=True, by=stage.sam
    ),
    "backend.disabled": lambda stage: catalog.set_backend_enabled(
        backend=stage.backend(), is_enabled=False, by=stage.sam
    ),
    "backend.removed": lambda stage: catalog.remove_backend(backend=stage.backend(), by=stage.sam),
    "deployment.changed": lambda stage: catalog.edit_deployment(
        deployment=stage.deployment(), by=stage.sam, priority=1, weight=3
    ),
    "deployment.enabled": lambda stage: catalog.set_deployment_enabled(
        deployment=stage.deployment(), is_enabled=True, by=stage.sam
    ),
    "deployment.disabled": lambda stage: catalog.set_deployment_enabled(
        deployment=stage.deployment(), is_enabled=False, by=stage.sam
    ),
    "model.changed": lambda stage: stage.edit_model(description="Ours."),
    "model.limits_changed": lambda stage: catalog.change_model_limits(
        hosted_model=stage.model(), changes={"requests_per_day": 5}, by=stage.sam
    ),
    "model.price_changed": lambda stage: stage.edit_model(input_price_nano=5),
    "key.created": key_of,
    "key.changed": change_key,
    "key.rotated": rotate_key,
    "key.secret_retired": retire_secret,
    "key.disabled": disable_key,
    "key.enabled": lambda stage: keys.enable_key(key=disable_key(stage), by=stage.ada),
    "key.leaked": leak_key,
    "key.revoked": lambda stage: keys.revoke_key(key=key_of(stage), by=stage.ada),
    "key_policy.changed": change_policy,
    "post.hidden": hide,
    "post.restored": lambda stage: moderation.restore_post(post=hide(stage), by=stage.sam),
    "post.locked": lock,
    "post.unlocked": lambda stage: moderation.unlock_post(post=lock(stage), by=stage.sam),
    "post.flags_dismissed": dismiss,
}
"""How each act comes about, by the name under which it is recorded."""

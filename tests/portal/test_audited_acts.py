"""Every action of the audit log has a way to provoke it here, and every action that the code records has words."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from allauth.socialaccount import signals as social
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.core import mail
from django.dispatch import Signal
from django.test import Client, RequestFactory

from accounts.audit import person_token
from accounts.auditing.actions import in_words, registered
from accounts.models import AuditEvent, Project, User
from accounts.services import invite_operator
from apikeys import services as keys
from apikeys.models import ApiKey, KeyMakers
from apikeys.terms import Terms
from catalog import services as catalog
from catalog.models import Backend, BackendKind, Deployment, HostedModel
from community import moderation
from community.models import FlagReason, Post, Tag
from community.services import raise_flag
from forum import services as forum
from tests.catalog.servers import openai, serving
from tests.conftest import PASSWORD, client_of, person

ROOT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "apikeys", "catalog", "community", "notifications", "playground", "usage", "forum", "portal")
SIGN_IN, RESET = "/accounts/login/", "/accounts/password/reset/"


@dataclass(frozen=True)
class Stage:
    """Ada with a verified address, her project; Cyd, a stranger; Sam of the staff."""

    ada: User
    cyd: User
    sam: User
    project: Project

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
            "chats": True,
            "embeds": False,
            "is_visible": True,
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


def key_of(stage: Stage) -> ApiKey:
    return keys.mint_key(project=stage.project, name="laptop", by=stage.ada)[0]


def change_key(stage: Stage) -> None:
    keys.change_key(key=key_of(stage), name="desktop", terms=Terms(), by=stage.ada)


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
    "admin.added": lambda stage: stage.in_admin("community/tag/add/", name="stream", description=""),
    "admin.changed": lambda stage: stage.in_admin(f"{tag_page(stage)}/change/", name="streams", description=""),
    "admin.deleted": lambda stage: stage.in_admin(f"{tag_page(stage)}/delete/", post="yes"),
    "backend.connected": connect_backend,
    "backend.changed": move_backend,
    "backend.enabled": lambda stage: catalog.set_backend_enabled(
        backend=stage.backend(), is_enabled=True, by=stage.sam
    ),
    "backend.disabled": lambda stage: catalog.set_backend_enabled(
        backend=stage.backend(), is_enabled=False, by=stage.sam
    ),
    "backend.removed": lambda stage: catalog.remove_backend(backend=stage.backend(), by=stage.sam),
    "deployment.enabled": lambda stage: catalog.set_deployment_enabled(
        deployment=stage.deployment(), is_enabled=True, by=stage.sam
    ),
    "deployment.disabled": lambda stage: catalog.set_deployment_enabled(
        deployment=stage.deployment(), is_enabled=False, by=stage.sam
    ),
    "model.changed": lambda stage: stage.edit_model(description="Ours."),
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
    "service_account.created": lambda stage: keys.open_service_account(
        project=stage.project, name="nightly", by=stage.ada
    ),
    "post.hidden": hide,
    "post.restored": lambda stage: moderation.restore_post(post=hide(stage), by=stage.sam),
    "post.locked": lock,
    "post.unlocked": lambda stage: moderation.unlock_post(post=lock(stage), by=stage.sam),
    "post.flags_dismissed": dismiss,
}
"""How each act comes about, by the name under which it is recorded."""


@pytest.fixture
def stage(ada: User, cyd: User, sam: User, project: Project) -> Stage:
    EmailAddress.objects.create(user=ada, email=ada.email, verified=True, primary=True)
    ada.set_password(PASSWORD)
    ada.save()
    return Stage(ada=ada, cyd=cyd, sam=sam, project=project)


def test_every_action_is_provoked() -> None:
    assert set(PROVOKED) == set(registered())


@pytest.mark.parametrize("action", sorted(PROVOKED))
def test_it_works(action: str, stage: Stage) -> None:
    PROVOKED[action](stage)
    assert AuditEvent.objects.filter(action=action).exists(), list(AuditEvent.objects.values_list("action", flat=True))


def actions_in_sources() -> set[str]:
    """The first argument of every call of `record`, where it stands there as text."""
    found = set()
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "record":
                    for one in ast.walk(node.args[0]):
                        if isinstance(one, ast.Constant) and isinstance(one.value, str) and "." in one.value:
                            found.add(one.value)
    return found


def test_every_action_has_words() -> None:
    assert {"backend.removed", "user.suspended"} <= actions_in_sources()
    assert actions_in_sources() - set(registered()) == set()


def test_an_action_without_words_is_called_by_its_code() -> None:
    assert in_words("moon.landed", target="“Eagle”") == "moon.landed “Eagle”"


def test_a_wrong_password_is_kept_without_what_was_typed(stage: Stage) -> None:
    stage.sign_in(password="wrong")
    event = AuditEvent.objects.get(action="user.sign_in_failed")
    assert (event.actor, event.target_id) == ("", person_token(stage.ada))
    stage.sign_in(email="my-password-by-mistake@example.com")
    unknown = AuditEvent.objects.get(action="user.unknown_sign_in_failed")
    assert unknown.target_id == ""
    assert "mistake" not in str(vars(unknown))


def test_the_admin_is_recorded_without_values(stage: Stage) -> None:
    project, none = stage.project, {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    stage.in_admin(
        f"accounts/project/{project.pk}/change/",
        name="A name that is its own",
        is_open="on",
        organization=str(project.organization_id),
        **none,
    )
    event = AuditEvent.objects.get(action="admin.changed")
    assert (event.target_id, event.organization_id) == (project.public_id, project.organization.public_id)
    assert event.after == {"fields": ["Name"]}
    assert "its own" not in str(vars(event))


def test_rows_deleted_at_once_are_each_recorded(stage: Stage) -> None:
    for name in ("one", "two", "three"):
        Tag.objects.create(name=name)
    stage.in_admin(
        "community/tag/",
        action="delete_selected",
        post="yes",
        _selected_action=[tag.pk for tag in Tag.objects.all()],  # type: ignore[arg-type]
    )
    assert AuditEvent.objects.filter(action="admin.deleted", actor=person_token(stage.sam)).count() == 3


def test_a_person_is_recorded_by_their_token_alone(stage: Stage) -> None:
    other = person("Dora")
    stage.in_admin(f"accounts/user/{other.pk}/delete/", post="yes")
    event = AuditEvent.objects.get(action="admin.deleted")
    assert "Dora" not in str(vars(event))
    assert "dora@" not in str(vars(event))
    assert event.target_id.startswith("person_")


def test_an_authenticator_is_recorded_by_its_kind(stage: Stage) -> None:
    second_factor(stage, mfa.authenticator_added)
    kinds = AuditEvent.objects.filter(action="user.second_factor_added").values_list("after", flat=True)
    assert {"kind": Authenticator.Type.TOTP.value} in list(kinds)

"""Every action of the audit log has a way to provoke it here, and every action that the code records has words."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator

from accounts.audit import person_token
from accounts.auditing.actions import in_words, registered
from accounts.models import AuditEvent, Project, User
from community.models import Tag
from tests.conftest import PASSWORD, person
from tests.portal.provoking import PROVOKED, Stage, second_factor

ROOT = Path(__file__).resolve().parents[2]
APPS = [
    *("accounts", "apikeys", "catalog", "community", "forum", "notifications", "playground", "portal", "usage"),
    "webhooks",
]


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


def texts_in(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and "." in one.value:
            yield one.value


def calls(node: ast.Call, name: str) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == name


def given_for(name: str, function: ast.FunctionDef, module: ast.Module) -> Iterator[ast.AST]:
    """What a name may stand for: assigned in the module, or handed over by those who call the function."""
    parameters = [one.arg for one in function.args.args]
    for node in ast.walk(module):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if name in [target.id for target in targets if isinstance(target, ast.Name)]:
                yield node.value
        elif isinstance(node, ast.Call) and calls(node, function.name) and name in parameters:
            yield node.args[parameters.index(name)]


def actions_in(module: ast.Module) -> Iterator[str]:
    """What stands as the first argument of `record`, as text or under a name. Pieces of a text are found nowhere."""
    for function in (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)):
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and calls(node, "record"):
                action = node.args[0]
                assert not any(isinstance(one, ast.JoinedStr) for one in ast.walk(action)), ast.unparse(node)
                yield from texts_in(action)
                names = [one.id for one in ast.walk(action) if isinstance(one, ast.Name)]
                for given in (given for name in names for given in given_for(name, function, module)):
                    yield from texts_in(given)


def actions_in_sources() -> set[str]:
    files = [path for app in APPS for path in (ROOT / app).rglob("*.py")]
    return {action for path in files for action in actions_in(ast.parse(path.read_text()))}


def test_every_action_has_words() -> None:
    found = actions_in_sources()
    # As text, by a condition, from a table, and handed over to a helper.
    assert {"backend.removed", "webhook.enabled", "post.hidden", "member.left", "invitation.resent"} <= found
    assert found - set(registered()) == set()


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

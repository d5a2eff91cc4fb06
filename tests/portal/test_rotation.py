"""The operator's command that rotates secrets: those that were made here, and those set elsewhere."""

import time
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.conf import LazySettings
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import Project, User
from apikeys.models import ApiKey, KeySecret
from apikeys.services import mint_key
from catalog.models import Backend
from portal import env
from portal.embedded import state
from tests.conftest import client_of

OTHER = "2:another-pepper-of-the-tests-that-protects-nothing"


def rotate(*options: str) -> str:
    out = StringIO()
    call_command("rotate_secrets", *options, stdout=out)
    return out.getvalue()


def restart(settings: LazySettings) -> None:
    """What settings read at a start, from the secrets that were made here."""
    known = state.load_secrets(settings.VAR_DIR)
    settings.SECRET_KEY = known["SECRET_KEY"]
    settings.SECRET_KEY_FALLBACKS = [key for key in known["SECRET_KEY_FALLBACKS"].split(",") if key]
    settings.FIELD_ENCRYPTION_KEYS = known["FIELD_ENCRYPTION_KEYS"].split(",")
    settings.KEY_PEPPERS = known["KEY_PEPPERS"].split(",")


@pytest.fixture
def made_here(settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An installation that made its own secrets."""
    for name in state.ROTATED:
        monkeypatch.delenv(name, raising=False)
    settings.VAR_DIR = tmp_path
    restart(settings)
    return state.load_secrets(tmp_path)


def test_it_works(made_here: dict[str, str], settings: LazySettings, project: Project, ada: User) -> None:
    backend = Backend.objects.create(name="one", base_url="http://127.0.0.1:1/v1", credential="sesame")
    _key, secret = mint_key(project=project, name="laptop", by=ada)
    ada_client = client_of(ada)

    assert "Restart the portal" in rotate("--new")
    with pytest.raises(CommandError, match="Restart it first"):
        rotate()
    restart(settings)
    with pytest.raises(CommandError, match="Older secrets are still needed"):
        rotate("--check")
    assert "catalog.Backend.credential: 1 kept, 0 under an older key" in rotate()
    # A visit signs the session anew; a key must be rotated by who holds it.
    assert ada_client.get("/keys/").status_code == 200
    with pytest.raises(CommandError, match="Older secrets are still needed"):
        rotate("--check")
    assert "Took out" in rotate("--drop")
    restart(settings)
    assert settings.KEY_PEPPERS[1:] == [made_here["KEY_PEPPERS"]]
    # The others went at once; links that were mailed before the change work for three days.
    assert len(settings.FIELD_ENCRYPTION_KEYS) == 1
    [fallback] = settings.SECRET_KEY_FALLBACKS
    assert fallback == made_here["SECRET_KEY"]
    KeySecret.objects.all().delete()
    # The days are counted from the change, whatever was written to the file since.
    long_ago = str(int(time.time()) - settings.PASSWORD_RESET_TIMEOUT - 1)
    in_file = state.load_secrets(settings.VAR_DIR)
    state.write_json(state.secrets_path(settings.VAR_DIR), {**in_file, "SECRET_KEY_CHANGED_AT": long_ago})
    assert "1: nothing hangs on it. Take it out." in rotate("--check")
    assert "Took out" in rotate("--drop")
    restart(settings)
    assert "Nothing was taken out" in rotate("--drop")

    kept = state.load_secrets(settings.VAR_DIR)
    assert all(made_here[name] not in kept[name] for name in ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "KEY_PEPPERS"))
    assert kept["SECRET_KEY_FALLBACKS"] == ""
    changed = {*state.ROTATED, "SECRET_KEY_CHANGED_AT"}
    assert {name: kept[name] for name in kept if name not in changed} == {
        name: made_here[name] for name in made_here if name not in changed
    }
    backend.refresh_from_db()
    assert backend.credential == "sesame"
    assert ada_client.get("/keys/").status_code == 200
    assert secret


@pytest.mark.parametrize("option", ["--new", "--drop"])
@pytest.mark.django_db
def test_secrets_that_are_set_elsewhere_are_not_touched(option: str, settings: LazySettings, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path
    with pytest.raises(CommandError, match=r"You set SECRET_KEY, FIELD_ENCRYPTION_KEYS, KEY_PEPPERS yourself"):
        rotate(option)
    assert list(tmp_path.iterdir()) == []


def test_a_fallback_that_was_kept_here_is_read_at_the_start(
    made_here: dict[str, str], settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.write_json(state.secrets_path(settings.VAR_DIR), state.with_new_secrets(made_here))
    monkeypatch.setenv("LYCEUM_VAR", str(settings.VAR_DIR))
    env._runtime.cache_clear()
    assert env.secret("SECRET_KEY_FALLBACKS", make=True) == made_here["SECRET_KEY"]
    env._runtime.cache_clear()


def test_a_value_that_no_key_decrypts_is_told(settings: LazySettings, db: None) -> None:
    Backend.objects.create(name="one", base_url="http://127.0.0.1:1/v1", credential="sesame")
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match="a secret that is no longer set"):
        rotate()


def test_only_keys_that_can_work_hang_on_a_pepper(settings: LazySettings, project: Project, ada: User) -> None:
    for name in ("active", "disabled", "revoked", "expired", "retired"):
        mint_key(project=project, name=name, by=ada)
    now = timezone.now()
    ApiKey.objects.filter(name="disabled").update(disabled_at=now)
    ApiKey.objects.filter(name="revoked").update(revoked_at=now)
    ApiKey.objects.filter(name="expired").update(expires_at=now - timedelta(seconds=1))
    KeySecret.objects.filter(key__name="retired").update(valid_until=now)
    settings.KEY_PEPPERS = [*settings.KEY_PEPPERS, OTHER]
    assert "1: needed by 2 secrets of keys." in rotate()
    settings.KEY_PEPPERS = [OTHER]
    with pytest.raises(CommandError, match="rotate the keys"):
        rotate()


def test_browsers_that_have_not_been_here_are_counted(settings: LazySettings, ada: User, ben: User) -> None:
    absent, present = client_of(ada), client_of(ben)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a" * 50, [settings.SECRET_KEY]
    assert present.get("/keys/").status_code == 200
    with pytest.raises(CommandError, match="Older secrets are still needed"):
        rotate("--check")
    assert "1 browser has not been here" in rotate()
    assert absent.get("/keys/").status_code == 200
    assert "No browser hangs on SECRET_KEY_FALLBACKS" in rotate("--check")


@pytest.mark.django_db
def test_sessions_of_visitors_need_no_older_key(settings: LazySettings) -> None:
    visit = SessionStore()
    visit["seen"] = "a page"
    visit.save()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a" * 50, [settings.SECRET_KEY]
    assert SessionStore(visit.session_key).load() == {"seen": "a page"}
    assert "No browser hangs on SECRET_KEY_FALLBACKS" in rotate("--check")

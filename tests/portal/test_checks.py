import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection
from pytest_django.fixtures import Settings

from portal import env
from portal.checks import refuse_wrong_configuration
from portal.env import BASE_DIR

SECURE = {
    "PUBLIC_URL": "https://ai.example.com",
    "SECRET_KEY": "s" * 50,
    "KEY_PEPPERS": "1:" + "p" * 40,
    "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "DATABASE_URL": "postgres://lyceum@127.0.0.1:1/lyceum",
    "EMAIL_URL": "smtp://127.0.0.1:25",
}


def start(**changes: str) -> subprocess.CompletedProcess[str]:
    """What a fresh process says that starts with exactly this environment."""
    return run(
        "import django; django.setup(); from portal.checks import refuse_wrong_configuration as f; f(); print('fine')",
        **changes,
    )


def run(code: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "LYCEUM_VAR": "/nonexistent", **SECURE, **changes}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"DJANGO_SETTINGS_MODULE": "portal.settings", **environment},
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_works() -> None:
    assert start().stdout == "fine\n"


@pytest.mark.parametrize(("proxies", "is_secure"), [("0", False), ("1", True)])
def test_a_trusted_proxy_says_how_the_visitor_came(proxies: str, is_secure: bool) -> None:
    """Uvicorn believes only a proxy at 127.0.0.1; pages must not redirect to themselves behind any other."""
    code = (
        "import django; django.setup(); from django.test import RequestFactory as F;"
        "print(F().get('/', headers={'X-Forwarded-Proto': 'https'}).is_secure())"
    )
    assert run(code, TRUSTED_PROXY_COUNT=proxies).stdout == f"{is_secure}\n"


@pytest.fixture
def production(settings: Settings) -> Settings:
    """Settings that may start in production."""
    settings.PRODUCTION = settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = settings.SECRET_KEY_IS_SET = (
        True
    )
    settings.EMAIL_URL = "smtp://127.0.0.1:25"
    settings.ALLOWED_HOSTS = ["ai.example.com"]
    return settings


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("DEBUG", True, "DEBUG is on in production"),
        ("SESSION_COOKIE_SECURE", False, "Session or CSRF cookie is not secure"),
        ("SECRET_KEY_IS_SET", False, "SECRET_KEY is not set"),
        ("SECRET_KEY", "django-insecure-" + "x" * 50, "SECRET_KEY is a default or too short"),
        ("FIELD_ENCRYPTION_KEYS", ["short"], "FIELD_ENCRYPTION_KEYS holds something that is no Fernet key"),
        ("FIELD_ENCRYPTION_KEYS", [], "FIELD_ENCRYPTION_KEYS is not set"),
        ("FIELD_ENCRYPTION_KEYS", ["A" * 43 + "="], "FIELD_ENCRYPTION_KEYS holds a key of an example"),
        ("KEY_PEPPERS", [], "KEY_PEPPERS is not set"),
        ("KEY_PEPPERS", ["pepper"], "KEY_PEPPERS must be versions and secrets"),
        ("KEY_PEPPERS", ["1:" + "p" * 40, "1:" + "q" * 40], "KEY_PEPPERS has one version twice"),
        ("DATABASE_URL", "", "No PostgreSQL"),
        ("EMAIL_URL", "", "No mail server"),
        ("ALLOWED_HOSTS", ["*"], "ALLOWED_HOSTS admits any host"),
    ],
)
def test_a_fault_is_named(production: Settings, name: str, value: object, complaint: str) -> None:
    setattr(production, name, value)
    with pytest.raises(ImproperlyConfigured, match=complaint):
        refuse_wrong_configuration()


def test_a_fault_stops_the_start() -> None:
    outcome = start(DEBUG="1", PORT="8000")
    assert outcome.returncode != 0
    assert "DEBUG is on in production" in outcome.stderr


def test_a_value_of_the_wrong_kind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "eighty")
    monkeypatch.setenv("DEBUG", "perhaps")
    with pytest.raises(ValueError, match="PORT must be a whole number, not 'eighty'"):
        env.integer("PORT", 8000)
    with pytest.raises(ValueError, match="DEBUG must be true or false, not 'perhaps'"):
        env.flag("DEBUG", False)


def test_background_work_trusts_no_other_redis_than_the_rest_does() -> None:
    """Celery would take any certificate where the address says nothing of it."""
    address = env.broker_address("rediss://:secret@redis.example.com:6380/1")
    assert Connection(address).ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    own = "rediss://:secret@redis.example.com:6380/1?ssl_ca_certs=/etc/ca.pem"
    expected = {"ssl_ca_certs": "/etc/ca.pem", "ssl_cert_reqs": ssl.CERT_REQUIRED}
    assert Connection(env.broker_address(own)).ssl == expected
    chosen = "rediss://:secret@redis.example.com:6380/1?ssl_cert_reqs=none"
    assert Connection(env.broker_address(chosen)).ssl == {"ssl_cert_reqs": ssl.CERT_NONE}


def test_outside_production_missing_secrets_are_made_once(tmp_path: Path) -> None:
    nothing_set = dict.fromkeys(("PUBLIC_URL", "SECRET_KEY", "KEY_PEPPERS", "FIELD_ENCRYPTION_KEYS", "EMAIL_URL"), "")
    assert start(**nothing_set, LYCEUM_VAR=str(tmp_path)).stdout == "fine\n"
    kept = tmp_path / "secrets.json"
    made = kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert start(**nothing_set, LYCEUM_VAR=str(tmp_path)).stdout == "fine\n"
    assert kept.read_text() == made


def test_production_never_makes_its_own(tmp_path: Path) -> None:
    assert "KEY_PEPPERS is not set" in start(KEY_PEPPERS="", LYCEUM_VAR=str(tmp_path)).stderr
    assert not (tmp_path / "secrets.json").exists()


def test_another_portals_volatile_redis_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runtime.json").write_text('{"REDIS_VOLATILE_URL": "redis://127.0.0.1:1/0"}')
    monkeypatch.setenv("LYCEUM_VAR", str(tmp_path))
    monkeypatch.delenv("REDIS_VOLATILE_URL")
    env._runtime.cache_clear()
    try:
        assert env.text("REDIS_VOLATILE_URL", "the same", pair="REDIS_URL") == "the same"
        monkeypatch.delenv("REDIS_URL")
        assert env.text("REDIS_VOLATILE_URL", "the same", pair="REDIS_URL") == "redis://127.0.0.1:1/0"
    finally:
        env._runtime.cache_clear()

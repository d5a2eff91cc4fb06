"""What is encrypted comes under another key, whoever writes meanwhile."""

from dataclasses import replace

import pytest
from cryptography.fernet import Fernet
from django.conf import LazySettings

from catalog.models import Backend
from common import sealed
from common.fields import decrypt, encrypt, renewed

pytestmark = pytest.mark.django_db


@pytest.fixture
def column(settings: LazySettings) -> sealed.Sealed:
    """The credentials of backends, one of them under the key before, which has been followed by another."""
    Backend.objects.create(name="one", base_url="http://127.0.0.1:1/v1", credential="sesame")
    Backend.objects.create(name="none", base_url="http://127.0.0.1:2/v1")
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_ENCRYPTION_KEYS]
    Backend.objects.create(name="new", base_url="http://127.0.0.1:3/v1", credential="open")
    return next(column for column in sealed.columns() if column.label == "catalog.Backend.credential")


def test_it_works(column: sealed.Sealed, settings: LazySettings) -> None:
    before = sealed.tally(column)
    assert (before.values, before.old, before.lost) == (2, 1, 0)
    sealed.renew(column)
    after = sealed.tally(column)
    assert (after.values, after.old, after.lost) == (2, 0, 0)
    settings.FIELD_ENCRYPTION_KEYS = settings.FIELD_ENCRYPTION_KEYS[:1]
    assert {backend.credential for backend in Backend.objects.all()} == {"sesame", "open", ""}


def test_what_is_encrypted_is_found_by_looking() -> None:
    assert {column.label for column in sealed.columns()} == {
        "accounts.JoinLink.token",
        "catalog.Backend.credential",
        "mfa.Authenticator.data",
        "webhooks.Endpoint.secret",
        "webhooks.Endpoint.old_secret",
    }


def test_nobodys_change_is_lost(column: sealed.Sealed, settings: LazySettings) -> None:
    """Somebody enters another credential between reading and writing, in a process that has the older key only."""
    keys, writers = settings.FIELD_ENCRYPTION_KEYS, iter(["another", "yet another"])

    def renew_slowly(token: str) -> str:
        if entered := next(writers, ""):
            settings.FIELD_ENCRYPTION_KEYS = keys[1:]
            Backend.objects.filter(name="one").update(credential=entered)
            settings.FIELD_ENCRYPTION_KEYS = keys
        return renewed(token) if token else token

    sealed.renew(replace(column, renew=renew_slowly, rows=lambda: Backend.objects.filter(name="one")))
    assert Backend.objects.get(name="one").credential == "yet another"
    assert sealed.tally(column).old == 0


def test_a_removed_row_is_let_go(column: sealed.Sealed) -> None:
    def renew_too_late(token: str) -> str:
        Backend.objects.filter(name="one").delete()
        return renewed(token)

    sealed.renew(replace(column, renew=renew_too_late, rows=lambda: Backend.objects.filter(name="one")))
    assert not Backend.objects.filter(name="one").exists()


def test_what_no_key_decrypts_is_counted_and_left(column: sealed.Sealed, settings: LazySettings) -> None:
    settings.FIELD_ENCRYPTION_KEYS = settings.FIELD_ENCRYPTION_KEYS[:1]
    sealed.renew(column)
    assert sealed.tally(column).lost == 1


def test_many_rows_are_taken_in_batches(column: sealed.Sealed, settings: LazySettings) -> None:
    old = settings.FIELD_ENCRYPTION_KEYS[1:]
    keys, settings.FIELD_ENCRYPTION_KEYS = settings.FIELD_ENCRYPTION_KEYS, old
    Backend.objects.bulk_create(
        Backend(name=f"many-{number}", base_url="http://127.0.0.1:1/v1", credential="sesame")
        for number in range(sealed.BATCH + 1)
    )
    settings.FIELD_ENCRYPTION_KEYS = keys
    assert sealed.tally(column).old == sealed.BATCH + 2
    sealed.renew(column)
    assert sealed.tally(column).old == 0


def test_renewing_what_has_the_first_key_changes_nothing() -> None:
    token = encrypt("a secret")
    assert renewed(token) == token
    assert decrypt(token) == "a secret"

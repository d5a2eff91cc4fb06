import pytest
from cryptography.fernet import Fernet
from django.conf import LazySettings

from common.fields import UndecryptableError, decrypt, encrypt


def test_it_works() -> None:
    token = encrypt("a secret")
    assert "a secret" not in token
    assert decrypt(token) == "a secret"


def test_an_older_key_still_decrypts(settings: LazySettings) -> None:
    token = encrypt("a secret")
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_ENCRYPTION_KEYS]
    assert decrypt(token) == "a secret"


def test_a_lost_key_is_an_error_that_says_so(settings: LazySettings) -> None:
    token = encrypt("a secret")
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(UndecryptableError, match="FIELD_ENCRYPTION_KEYS"):
        decrypt(token)

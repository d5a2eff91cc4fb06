"""Model fields that keep what they hold from being read in a dump of the database."""

from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class UndecryptableError(Exception):
    """A stored secret was encrypted with a key that is no longer among FIELD_ENCRYPTION_KEYS."""


@cache
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(text: str) -> str:
    """`text` encrypted with the first of FIELD_ENCRYPTION_KEYS; the older ones still decrypt."""
    return _fernet(tuple(settings.FIELD_ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """The text behind `token`.

    Raises UndecryptableError when none of FIELD_ENCRYPTION_KEYS fits.
    """
    try:
        return _fernet(tuple(settings.FIELD_ENCRYPTION_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise UndecryptableError("No key in FIELD_ENCRYPTION_KEYS decrypts this value.") from error


def renewed(token: str) -> str:
    """`token` under the first of FIELD_ENCRYPTION_KEYS; the very same when it is already.

    Raises UndecryptableError when none of them fits.
    """
    keys = tuple(settings.FIELD_ENCRYPTION_KEYS)
    try:
        _fernet(keys[:1]).decrypt(token.encode())
    except InvalidToken:
        try:
            return _fernet(keys).rotate(token.encode()).decode()
        except InvalidToken as error:
            raise UndecryptableError("No key in FIELD_ENCRYPTION_KEYS decrypts this value.") from error
    return token


class EncryptedTextField(models.TextField[str, str]):
    """Text encrypted at rest. It cannot be searched, and is empty when empty: no ciphertext stands for nothing."""

    def get_prep_value(self, value: Any) -> Any:
        return encrypt(value) if value else ""

    def from_db_value(self, value: str, expression: object, connection: BaseDatabaseWrapper) -> str:
        return decrypt(value) if value else ""

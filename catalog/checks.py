"""What can be wrong with the catalog's configuration."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ValidationError
from django.db import DatabaseError

from catalog.models import Backend
from common.fields import UndecryptableError, decrypt
from common.http import validate_base_url


def register() -> None:
    checks.register(embedded_address_is_one, checks.Tags.compatibility)
    checks.register(credentials_decrypt, checks.Tags.database)


def embedded_address_is_one(**kwargs: Any) -> list[checks.CheckMessage]:
    if not settings.EMBEDDED_MODEL_URL:
        return []
    try:
        validate_base_url(settings.EMBEDDED_MODEL_URL)
    except ValidationError as error:
        return [
            checks.Error(
                f"EMBEDDED_MODEL_URL: {error.message}",
                hint="Leave it unset: `make run` sets it to the model that it starts.",
                id="catalog.E001",
            )
        ]
    return []


def credentials_decrypt(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Asked for by `manage.py check --database default` and before every `migrate`."""
    if not databases:
        return []
    try:
        backends = list(Backend.objects.with_sealed_credential())
    except DatabaseError:  # `migrate` asks too, before there is a table
        return []
    return [
        checks.Warning(
            f"The credential of backend {backend.name} was encrypted with a key that is no longer in "
            "FIELD_ENCRYPTION_KEYS.",
            hint="Put the old key back at the end of FIELD_ENCRYPTION_KEYS, or enter the credential again.",
            id="catalog.W001",
        )
        for backend in backends
        if backend.sealed and not _decrypts(backend.sealed)
    ]


def _decrypts(sealed: str) -> bool:
    try:
        decrypt(sealed)
    except UndecryptableError:
        return False
    return True

"""One world for every test of the table."""

import logging
from collections.abc import Iterator

import pytest
from django.db import transaction
from django.test import override_settings
from pytest_django.plugin import DjangoDbBlocker

from tests.permissions.cast import Cast, gathered


@pytest.fixture(autouse=True)
def db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The database without a transaction around each test, which would end the one around them all."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="package")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    """The people and their world, never committed: each request is taken back, and at the end everything."""
    quick = override_settings(
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF="tests.permissions.urls",
        # All have just signed in, also where the table takes longer than that is believed.
        ACCOUNT_REAUTHENTICATION_TIMEOUT=24 * 3600,
    )
    # Every refusal would be written with a traceback that nobody reads.
    refusals = logging.getLogger("django.request")
    level = refusals.level
    with quick, django_db_blocker.unblock(), transaction.atomic():
        refusals.setLevel(logging.ERROR)
        try:
            with gathered() as cast:
                yield cast
        finally:
            refusals.setLevel(level)
            transaction.set_rollback(True)

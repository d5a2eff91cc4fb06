"""Stores for tests that lose one of them."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from pytest_django.plugin import DjangoDbBlocker

from tests import services
from usage.models import UsageEvent, UsageRollup5Min, UsageRollup15Min


@pytest.fixture(scope="module")
def stores(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A Redis to lose, and PostgreSQL without a transaction around each test: budgets are counted in threads."""
    with services.durable_redis_of_its_own(settings), django_db_blocker.unblock():
        yield
        for table in (UsageEvent, UsageRollup5Min, UsageRollup15Min):
            table.objects.all().delete()

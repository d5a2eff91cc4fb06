"""Stores for tests that lose one of them."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from pytest_django.plugin import DjangoDbBlocker

from tests import services
from usage.models import ROLLUPS, CreditDraw, UsageEvent


@pytest.fixture(scope="module")
def stores(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A Redis to lose, and PostgreSQL without a transaction around each test: budgets are counted in threads."""
    with services.durable_redis_of_its_own(settings), django_db_blocker.unblock():
        yield
        UsageEvent.objects.all().delete()
        CreditDraw.objects.all().delete()
        for table in ROLLUPS:
            table.objects.all().delete()

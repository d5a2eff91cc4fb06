"""One world for all tests of a module that only look at it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.db import transaction
from django.test import Client
from pytest_django.plugin import DjangoDbBlocker

from tests.conftest import client_of, person
from tests.pages import Who, build_world


@dataclass(frozen=True)
class World:
    """The names that paths hold in braces, and a browser of each kind of visitor; MEMBER is Ada's."""

    names: dict[str, str]
    visitors: dict[Who, Client]


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """Something on every page, never committed. What a test marked `django_db` changes is taken back with it."""
    with django_db_blocker.unblock(), transaction.atomic():
        ada, cyd, sam = person("Ada"), person("Cyd"), person("Sam", is_staff=True)
        names = build_world(ada=ada, cyd=cyd, sam=sam)
        yield World(names, {Who.ANYONE: Client(), Who.MEMBER: client_of(ada), Who.STAFF: client_of(sam)})
        transaction.set_rollback(True)

"""The cast and the parts every test may use: Ada owns, Ben is on her team, Cyd is a stranger, Sam is staff."""

import gc
import os
from collections.abc import Generator, Iterator

import pytest
import pytest_django
import structlog
from _pytest.nodeid import coerce_node_id
from django.conf import LazySettings
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client, TransactionTestCase
from django.urls import reverse
from django.utils import translation

from accounts.models import Membership, Organization, Project, User
from accounts.roles import Role
from accounts.services import open_workspace
from tests import services

# What a test captures of the logs must not depend on whether an earlier test has used the same logger.
structlog.configure(cache_logger_on_first_use=False)

# Synchronous Playwright runs an event loop in the thread of the test, where Django would refuse its ORM.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

PASSWORD = "a long enough password"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collecting makes half a million objects that stay; to look for garbage in them would take a third of its time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Browser tests come last: from the first on, Playwright's event loop runs in this thread, and others may not."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None)
    # Schemathesis gives all addresses of the API one id, and of those pytest-xdist would run a single one.
    for item in items:
        if (label := getattr(item, "operation_label", None)) and label not in item.nodeid:
            item._id = coerce_node_id(f"{item.nodeid}[{label}]")
    # pytest-xdist 3.8 writes a test's group where pytest 9.2 does not read it.
    if config.getoption("loadgroup", default=False):
        for item in items:
            if group := item.get_closest_marker("xdist_group"):
                item._id = coerce_node_id(f"{item.nodeid}@{group.args[0]}")
    assert len({item.nodeid for item in items}) == len(items), "two tests have one id, and only one of them would run"


def person(name: str, *, is_staff: bool = False) -> User:
    """A user with a workspace of their own, who can sign in with PASSWORD."""
    user = User.objects.create_user(
        f"{name.lower()}@example.com", PASSWORD, name=name, is_staff=is_staff, is_superuser=is_staff
    )
    open_workspace(user=user)
    return user


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def switch_account(staff: Client, user: User, **boxes: str) -> None:
    """Save the admin's form of the user; a box that is not named, such as `is_active`, is left empty."""
    places = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    fields = {"email": user.email, "name": user.name, "language": user.language}
    answer = staff.post(f"/admin/accounts/user/{user.pk}/change/", {**fields, **places, **boxes})
    assert answer.status_code == 302, answer.content.decode()


EMPTY_THE_AUDIT_LOG = """
DO $$ DECLARE part regclass; BEGIN
    FOR part IN SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'never_emptied' LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER never_emptied', part);
    END LOOP;
END $$
"""


NOT_FOR_DELETING = "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'never_emptied'"


def take_back_what_was_committed(*_arguments: object) -> None:
    """Empty every table that has rows, but for the content types and permissions, which the migrations made.

    Django would truncate all, which gives seven hundred files anew, and make those two again, after every test that
    commits. Most of them leave a handful of rows, and deleting these takes a tenth of the time.
    """
    made_by_migrations = {model._meta.db_table for model in (ContentType, Permission)}
    with transaction.atomic(), connection.cursor() as cursor:
        tables = sorted({*connection.introspection.django_table_names(only_existing=True)} - made_by_migrations)
        cursor.execute(" UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (TABLE {name})" for name in tables))
        written = {name for (name,) in cursor.fetchall()}
        cursor.execute(NOT_FOR_DELETING)
        if truncated := written & {name for (name,) in cursor.fetchall()}:
            cursor.execute(f"TRUNCATE {', '.join(truncated)} CASCADE")
        # No foreign key is looked at before the end, so that their order does not matter.
        for name in written - truncated:
            cursor.execute(f"DELETE FROM {name}")  # noqa: S608 - the names are those of our models


@pytest.fixture(scope="session", autouse=True)
def budgets_are_open() -> None:
    services.open_budgets()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[None]:
    """Tests that commit take it back, which the audit log refuses; so does the start, after a run that was killed."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(EMPTY_THE_AUDIT_LOG)
        take_back_what_was_committed()
    with pytest.MonkeyPatch.context() as django:
        django.setattr(TransactionTestCase, "_fixture_teardown", take_back_what_was_committed)
        yield


@pytest.fixture
def ada(db: None) -> User:
    return person("Ada")


@pytest.fixture
def ben(db: None, ada: User) -> User:
    """A member of Ada's organization."""
    user = person("Ben")
    organization = Organization.objects.for_member(ada)[0]
    Membership.objects.create(organization=organization, user=user, role=Role.MEMBER)
    return user


@pytest.fixture
def cyd(db: None) -> User:
    return person("Cyd")


@pytest.fixture
def sam(db: None) -> User:
    return person("Sam", is_staff=True)


@pytest.fixture
def project(ada: User) -> Project:
    """Ada's first project."""
    return Project.objects.for_member(ada)[0]


@pytest.fixture
def ada_client(ada: User) -> Client:
    return client_of(ada)


@pytest.fixture
def ben_client(ben: User) -> Client:
    return client_of(ben)


@pytest.fixture
def cyd_client(cyd: User) -> Client:
    return client_of(cyd)


@pytest.fixture
def sam_client(sam: User) -> Client:
    return client_of(sam)


@pytest.fixture(scope="session", autouse=True)
def addresses() -> None:
    """allauth chooses its addresses by settings when first asked: a test that changes those must not be the first."""
    reverse("home")


@pytest.fixture(autouse=True)
def quick_passwords(settings: LazySettings) -> None:
    """Argon2 costs what it should; a test of anything else need not pay for it."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def fresh_language() -> Iterator[None]:
    """A page asked for in Chinese leaves its thread speaking Chinese; the next test begins in English."""
    translation.activate("en")
    yield
    translation.activate("en")


@pytest.fixture(autouse=True)
def fresh_cache() -> Iterator[None]:
    """Rate limits counted for one test must not refuse the next."""
    yield
    cache.clear()

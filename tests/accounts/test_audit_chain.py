"""The audit log can only be added to, and shows when it was tampered with all the same."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from uuid import UUID

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from accounts.audit import person_token, record
from accounts.auditing.chain import Break, Month, walk
from accounts.auditing.upkeep import drop_months, forget_origins, keep_audit_log, open_months
from accounts.models import AuditEvent, AuditOrigin, AuditSeal, Project, User
from common.ids import uuid7
from tests.conftest import person
from tests.races import wait_until_somebody_waits

pytestmark = pytest.mark.django_db


EVENT_AND_SEAL = (
    "WITH gone AS (DELETE FROM accounts_auditevent WHERE id = %s RETURNING id) "
    "DELETE FROM accounts_auditseal USING gone WHERE event_id = gone.id"
)


def run(statement: str, *parameters: UUID | datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def seal() -> None:
    """What a commit does."""
    run("SET CONSTRAINTS ALL IMMEDIATE")
    run("SET CONSTRAINTS ALL DEFERRED")


@contextmanager
def unguarded(*tables: str) -> Iterator[None]:
    """As one who owns the database and has switched its guards off."""
    seal()
    for table in tables:
        run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    for table in tables:
        run(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def partition(table: str = "accounts_auditevent") -> str:
    return f"{table}_{timezone.now():%Y_%m}"


@pytest.fixture(autouse=True)
def empty(db: None) -> None:
    """Tests of other parts that commit may have left something."""
    run("TRUNCATE accounts_auditevent, accounts_auditseal")


@pytest.fixture
def events(ada: User, project: Project) -> list[AuditEvent]:
    for number in range(5):
        record("project.renamed", by=ada, target=project, label=f"Number {number}", after={"b": number, "a": "é€"})
    seal()
    return list(AuditEvent.objects.order_by("at", "pk"))


def test_it_works(events: list[AuditEvent]) -> None:
    assert [row.number for row in AuditSeal.objects.order_by("number")] == [1, 2, 3, 4, 5]
    (month,) = walk()
    assert month == Month(
        timezone.now().date().replace(day=1), events=5, last_hash=AuditSeal.objects.get(number=5).hash
    )


def test_the_command_says_so(events: list[AuditEvent]) -> None:
    said = StringIO()
    call_command("verify_audit_log", stdout=said)
    assert "5 events" in said.getvalue()


@pytest.mark.parametrize("table", ["accounts_auditevent", "accounts_auditseal"])
@pytest.mark.parametrize("act", ["DELETE FROM {}", "UPDATE {} SET {} = {}"])
def test_no_row_is_changed_or_deleted(events: list[AuditEvent], table: str, act: str) -> None:
    column = "action" if table == "accounts_auditevent" else "hash"
    for place in (table, partition(table)):
        with pytest.raises(DatabaseError, match="only ever added to"), transaction.atomic():
            run(act.format(place, column, column))


@pytest.mark.parametrize("table", ["accounts_auditevent", "accounts_auditseal"])
def test_it_is_not_emptied(events: list[AuditEvent], table: str) -> None:
    # Switched off for the tests that commit, which empty every table after themselves.
    places = [table, partition(table), f"{table}_other"]
    for place in places:
        run(f"ALTER TABLE {place} ENABLE TRIGGER never_emptied")
    for place in places:
        with pytest.raises(DatabaseError, match="only ever added to"), transaction.atomic():
            run(f"TRUNCATE {place}")


@pytest.mark.parametrize(
    ("tampering", "reason"),
    [
        ("UPDATE accounts_auditevent SET actor = 'person_else' WHERE id = %s", "altered"),
        ("UPDATE accounts_auditevent SET after = '{}' WHERE id = %s", "altered"),
        ("UPDATE accounts_auditevent SET at = at + interval '1 microsecond' WHERE id = %s", "altered"),
        ("DELETE FROM accounts_auditevent WHERE id = %s", "the event is missing"),
        ("UPDATE accounts_auditseal SET hash = repeat('0', 64) WHERE event_id = %s", "altered"),
        ("DELETE FROM accounts_auditseal WHERE event_id = %s", "seal 3 is missing"),
        (EVENT_AND_SEAL, "seal 3 is missing"),
    ],
)
def test_tampering_is_found_where_it_happened(events: list[AuditEvent], tampering: str, reason: str) -> None:
    third = AuditSeal.objects.get(number=3)
    with unguarded("accounts_auditevent", "accounts_auditseal"):
        run(tampering, third.event_id)
    found = list(walk())[-1]
    assert isinstance(found, Break)
    assert reason in found.reason
    assert found.number in {3, 4}
    with pytest.raises(CommandError, match="broken at"):
        call_command("verify_audit_log")


def test_an_event_put_in_around_the_log_is_found(events: list[AuditEvent]) -> None:
    with unguarded("accounts_auditevent"):
        forged = AuditEvent.objects.create(action="key.revoked", target_kind="apikey", target_id="key_1")
    found = list(walk())[-1]
    assert isinstance(found, Break)
    assert (found.event_id, found.number) == (str(forged.pk), None)


def test_seals_made_anew_are_found_by_the_last_hash(events: list[AuditEvent]) -> None:
    """Who rewrites every later seal as well changes the last one: that is why it is printed."""
    (before,) = walk()
    with unguarded("accounts_auditevent", "accounts_auditseal"):
        first = AuditSeal.objects.get(number=1).event_id
        run("UPDATE accounts_auditevent SET action = 'nothing.happened' WHERE id = %s", first)
        run("DELETE FROM accounts_auditseal")
    for event in AuditEvent.objects.order_by("at", "pk"):
        run("INSERT INTO accounts_auditunsealed (event_id, at) VALUES (%s, %s)", event.pk, event.at)
    seal()
    (after,) = walk()
    assert isinstance(before, Month)
    assert isinstance(after, Month)
    assert after.last_hash != before.last_hash


@pytest.mark.django_db(transaction=True)
def test_acts_at_once_make_one_chain() -> None:
    project = Project.objects.for_member(person("Ada"))[0]

    def act(number: int) -> None:
        try:
            record("project.renamed", by=None, target=project, label=str(number))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, range(24)))
    (month,) = walk()
    assert isinstance(month, Month)
    assert month.events == 24


@pytest.mark.django_db(transaction=True)
def test_sealing_comes_after_all_that_a_commit_waits_for() -> None:
    """One commit waits for a row that another holds which has something to seal: had the first sealed already, each
    would wait for the other."""
    user = person("Ada")
    project = Project.objects.for_member(user)[0]

    def act() -> None:
        try:
            with transaction.atomic():
                record("project.renamed", by=None, target=project)
                EmailAddress.objects.create(user=user, email="ada@example.org")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            User.objects.select_for_update().get(pk=user.pk)
            record("project.renamed", by=None, target=project)
            other = pool.submit(act)
            wait_until_somebody_waits()
        other.result(5)
    assert AuditSeal.objects.count() == 2


def test_every_month_has_a_chain_of_its_own(ada: User, project: Project) -> None:
    record("project.renamed", by=ada, target=project)
    next_month = (timezone.now().replace(day=1) + timedelta(days=32)).replace(day=1)
    AuditEvent.objects.create(action="project.renamed", target_kind="project", target_id="proj_1", at=next_month)
    seal()
    assert [found.events for found in walk() if isinstance(found, Month)] == [1, 1]


def test_an_event_of_a_month_without_a_partition_is_kept_and_moved() -> None:
    long_ago = datetime(2021, 5, 31, 23, 59, 59, tzinfo=UTC)
    AuditEvent.objects.create(action="project.renamed", target_kind="project", target_id="proj_1", at=long_ago)
    seal()
    assert place_of_events() == ["accounts_auditevent_other"]
    open_months(timezone.now().date())
    assert place_of_events() == ["accounts_auditevent_2021_05"]
    assert [type(found) for found in walk()] == [Month]
    with pytest.raises(DatabaseError, match="only ever added to"), transaction.atomic():
        run("DELETE FROM accounts_auditevent_2021_05")
    AuditEvent.objects.create(action="project.renamed", target_kind="project", target_id="proj_2", at=long_ago)
    seal()
    assert AuditSeal.objects.filter(month=date(2021, 5, 1)).count() == 2


def place_of_events() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT tableoid::regclass::text FROM accounts_auditevent")
        return [name for (name,) in cursor.fetchall()]


def test_months_ahead_are_made() -> None:
    open_months(date(2031, 11, 30))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relname LIKE 'accounts_audit%_203%' AND relkind = 'r' ORDER BY 1"
        )
        names = [name for (name,) in cursor.fetchall()]
    months = ["2031_11", "2031_12", "2032_01", "2032_02"]
    assert names == [f"accounts_audit{kind}_{month}" for kind in ("event", "seal") for month in months]


def test_old_months_are_dropped_whole() -> None:
    for month in (3, 4):
        at = datetime(2021, month, 15, tzinfo=UTC)
        AuditEvent.objects.create(action="project.renamed", target_kind="project", target_id=f"proj_{month}", at=at)
    seal()
    open_months(timezone.now().date())
    drop_months(before=date(2021, 4, 30))
    assert [event.target_id for event in AuditEvent.objects.all()] == ["proj_4"]
    assert [found.events for found in walk() if isinstance(found, Month)] == [1]


def test_the_upkeep_can_run_twice(events: list[AuditEvent]) -> None:
    for _time in range(2):
        keep_audit_log()
    assert AuditEvent.objects.count() == 5


def test_origins_are_forgotten_after_their_days(ada: User) -> None:
    for days in (89, 91):
        milliseconds = int((timezone.now() - timedelta(days=days)).timestamp() * 1000)
        AuditOrigin.objects.create(
            event_id=uuid7(milliseconds=milliseconds), person=person_token(ada), address=f"192.0.2.{days}"
        )
    forget_origins(days=90)
    assert [origin.address for origin in AuditOrigin.objects.all()] == ["192.0.2.89"]

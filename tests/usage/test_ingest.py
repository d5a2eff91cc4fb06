"""From the stream into the ledger: every event once, whatever is repeated, broken or killed on the way."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import Sum
from django.utils import timezone
from redis import Redis
from structlog.testing import capture_logs

from accounts.models import Project, User
from apikeys.services import mint_key
from common import redis as servers
from common.ids import new_id, uuid7
from notifications.models import Notification
from portal.celery import app
from tests.races import at_once, wait_until_somebody_waits
from usage.events import DEAD_LETTERS, GROUP, STREAM, VERSION, Event, PoisonError
from usage.ingest import CONSUMER, DEAD_LETTERS_KEPT, LATE_SECONDS, _trim, drain, paused
from usage.models import (
    ROLLUPS,
    UsageEvent,
    UsageInstallationHour,
    UsageKeyDay,
    UsageOrganizationDay,
    UsageProjectHour,
    UsageRollup5Min,
    UsageRollup15Min,
)
from usage.tasks import forget, look_for_delay

ROOT = Path(__file__).parents[2]
FEW = Event(
    id="",
    request_id="",
    source="key",
    organization_id="org_1",
    project_id="proj_1",
    key_id="key_1",
    user_id="",
    model="m",
    backend="b",
    endpoint="chat/completions",
    status=200,
    error_code="",
    is_streamed=False,
    is_estimated=False,
    prompt_tokens=3,
    cached_tokens=1,
    completion_tokens=5,
    cost_nano=7,
    latency_ms=20,
    first_token_ms=None,
)


def uuid7_at(moment: datetime) -> str:
    value = uuid7().int & (1 << 80) - 1 | int(moment.timestamp() * 1000) << 80
    return f"{value:032x}"


def event(**fields: Any) -> Event:
    return replace(FEW, **{"id": uuid7().hex, "request_id": new_id("req"), **fields})


def emit(*events: Event) -> None:
    pipeline = servers.durable().pipeline(transaction=False)
    for one in events:
        pipeline.xadd(STREAM, {"e": one.encode().decode()})
    pipeline.execute()


def waiting() -> int:
    """Entries in the stream that are not yet in the ledger."""
    return int(servers.durable().xlen(STREAM))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def empty_stream() -> Iterator[None]:
    servers.durable().delete(STREAM, DEAD_LETTERS)
    yield
    servers.durable().delete(STREAM, DEAD_LETTERS)


@pytest.mark.django_db
def test_it_works() -> None:
    at = datetime(2026, 3, 1, 10, 7, 30, tzinfo=UTC)
    emit(
        event(id=uuid7_at(at), first_token_ms=9),
        event(id=uuid7_at(at + timedelta(minutes=4)), status=502, error_code="server_error", completion_tokens=0),
        event(id=uuid7_at(at + timedelta(minutes=5)), status=499),
    )
    assert drain() == 3
    row = UsageEvent.objects.get(first_token_ms=9)
    assert (row.at, row.prompt_tokens, row.cost_nano) == (at, 3, 7)
    cells = {(cell.bucket_at.minute, cell.status): cell for cell in UsageRollup5Min.objects.all()}
    assert {at: (cell.requests, cell.errors, cell.completion_tokens) for at, cell in cells.items()} == {
        (5, 200): (1, 0, 5),
        (10, 502): (1, 1, 0),
        (10, 499): (1, 0, 5),
    }
    answered = cells[5, 200]
    assert (answered.first_token_ms_sum, answered.first_token_count, cells[10, 499].first_token_count) == (9, 1, 0)
    quarters = UsageRollup15Min.objects.order_by("status")
    assert [(cell.bucket_at.minute, cell.status, cell.error_code, cell.cost_nano) for cell in quarters] == [
        (0, 200, "", 7),
        (0, 499, "", 7),
        (0, 502, "server_error", 7),
    ]
    assert timezone.now() - answered.updated_at < timedelta(seconds=30)
    assert waiting() == 0


@pytest.mark.django_db
def test_each_endpoint_has_sums_of_its_own() -> None:
    emit(event(), event(cached_tokens=2), event(endpoint="embeddings", cached_tokens=0))
    drain()
    for rollup in (UsageRollup5Min, UsageRollup15Min):
        cells = rollup.objects.values_list("endpoint").annotate(Sum("requests"), Sum("cached_tokens"))
        assert sorted(cells) == [("chat/completions", 2, 3), ("embeddings", 1, 0)]


@pytest.mark.django_db
def test_what_the_portal_refuses_is_no_models_time() -> None:
    emit(
        event(latency_ms=900, waited_ms=700),
        event(latency_ms=300, status=502, error_code="server_error"),
        event(latency_ms=1, waited_ms=1, status=429, error_code="rate_limit_exceeded", backend=""),
    )
    drain()
    for rollup in (UsageRollup5Min, UsageRollup15Min):
        cells = rollup._default_manager.order_by("status")
        measures = "requests", "errors", "latency_ms_sum", "waited_ms_sum", "latency_count"
        assert list(cells.values_list("status", *measures)) == [
            (200, 1, 0, 900, 700, 1),
            (429, 1, 1, 0, 0, 0),
            (502, 1, 1, 300, 0, 1),
        ]
    emit(event(latency_ms=1, status=404, error_code="model_not_found", backend=""), event(latency_ms=300))
    drain()
    total = UsageRollup15Min.objects.aggregate(time=Sum("latency_ms_sum"), count=Sum("latency_count"))
    assert total == {"time": 1500, "count": 3}


@pytest.mark.django_db
def test_an_event_that_comes_twice_counts_once() -> None:
    one, other = event(), event()
    emit(one, one, other)
    assert drain() == 2
    emit(one, other)
    assert drain() == 0
    assert UsageRollup5Min.objects.aggregate(sum=Sum("requests"))["sum"] == 2


@pytest.mark.django_db
def test_later_events_add_to_the_sums() -> None:
    emit(*(event() for _ in range(2500)))
    assert drain() == 2500
    emit(event())
    drain()
    assert UsageRollup15Min.objects.aggregate(sum=Sum("cost_nano"))["sum"] == 2501 * 7


POISON = ["", "{", "[]", "[1]", "7", '["1"]', '[2, "x"]', "\x00", "[" * 50_000]


@pytest.mark.django_db
def test_a_poison_event_goes_aside_and_blocks_nothing() -> None:
    client = servers.durable()
    for text in POISON:
        client.xadd(STREAM, {"e": text})
        emit(event())
    client.xadd(STREAM, {"other": "x"})
    assert drain() == len(POISON)
    assert client.llen(DEAD_LETTERS) == len(POISON) + 1
    assert waiting() == 0
    assert drain() == 0


@pytest.mark.django_db(transaction=True)
def test_what_is_delivered_again_does_not_go_aside_again() -> None:
    """PostgreSQL ends the drain in the middle of a batch."""
    emit(event())
    servers.durable().xadd(STREAM, {"e": "{"})

    def end_whoever_waits() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {UsageRollup5Min._meta.db_table}")
            begun.set()
            wait_until_somebody_waits()
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )

    begun = threading.Event()
    ended, refused = at_once(end_whoever_waits, lambda: begun.wait() and drain())
    assert (ended, type(refused)) == (None, OperationalError)
    assert drain() == 1
    assert servers.durable().llen(DEAD_LETTERS) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("changes", [{"status": -1}, {"address": "203.0.113.9%eth0"}, {"user_agent": "x" * 1000}])
def test_what_goes_aside_does_not_say_where_the_call_came_from(
    changes: dict[str, Any], django_capture_on_commit_callbacks: Any
) -> None:
    """Nobody erases it there."""
    emit(event(**{"secret_id": "sec_1", "address": "203.0.113.9", "user_agent": "curl/8", **changes}))
    with capture_logs() as logs, django_capture_on_commit_callbacks(execute=True):
        assert drain() == 0
    assert logs
    letter = str(servers.durable().lindex(DEAD_LETTERS, 0))
    for text in (letter, str(logs)):
        assert not any(trace in text for trace in ("203.0.113", "curl", "xxxx", "sec_1"))
    assert "proj_1" in letter


@pytest.mark.django_db
def test_what_went_aside_is_kept_for_thirty_days() -> None:
    client, now = servers.durable(), timezone.now()
    ages = (DEAD_LETTERS_KEPT + timedelta(minutes=1), DEAD_LETTERS_KEPT + timedelta(minutes=1), timedelta(days=29))
    for number, age in enumerate(ages):
        client.xadd(STREAM, {"e": "{"}, id=f"{int((now - age).timestamp() * 1000)}-{number}")
    drain()
    assert client.llen(DEAD_LETTERS) == 3
    forget()
    assert client.llen(DEAD_LETTERS) == 1
    forget()
    assert client.llen(DEAD_LETTERS) == 1


WRONG: list[dict[str, Any]] = [
    {"id": "x"},
    {"id": "0" * 32},
    {"id": "f" * 12 + "7000800000000000000a"},
    {"model": "m" * 500},
    {"model": "a\x00b"},
    {"prompt_tokens": -1},
    {"prompt_tokens": 2**40},
    {"prompt_tokens": 1.5},
    {"status": 99_999},
    {"cost_nano": 2**70},
    {"source": "magic"},
    {"source": ["key"]},
    {"is_streamed": "yes"},
    {"first_token_ms": "soon"},
    {"retries": 40_000},
    {"waited_ms": -1},
    {"latency_ms": 5, "waited_ms": 6},
    {"asked_model": "m" * 201},
    {"model": None},
]


@pytest.mark.django_db
def test_every_table_of_sums_has_every_call() -> None:
    at = datetime(2026, 3, 1, 23, 50, tzinfo=UTC)
    calls = [
        event(id=uuid7_at(at + timedelta(minutes=4 * n)), key_id=f"key_{n % 3}", project_id=f"proj_{n % 2}", status=s,
              error_code="x" if s == 429 else "", backend="" if s == 429 else "b", reasoning_tokens=1)
        for n, s in enumerate([200, 429, 200, 502, 499])
    ]  # fmt: skip
    emit(*calls)
    drain()
    emit(event(id=uuid7_at(at)))
    drain()
    for table in ROLLUPS:
        total = table.objects.aggregate(
            *(Sum(name) for name in ("requests", "errors", "cost_nano", "reasoning_tokens", "latency_count"))
        )
        assert list(total.values()) == [6, 2, 42, 5, 5], table
    hours = UsageProjectHour.objects.order_by("bucket_at", "status").values_list(
        "bucket_at__hour", "status", "requests"
    )
    assert [row for row in hours if row[1] != 200] == [(23, 429, 1), (0, 499, 1), (0, 502, 1)]
    assert set(UsageKeyDay.objects.values_list("bucket_at__day", "bucket_at__hour")) == {(1, 0), (2, 0)}
    assert UsageOrganizationDay.objects.count() == 2
    assert set(UsageInstallationHour.objects.values_list("backend", "status")) == {
        ("b", 200), ("", 429), ("b", 502), ("b", 499),
    }  # fmt: skip


@pytest.mark.parametrize("fields", WRONG)
def test_what_the_table_would_refuse_is_no_event(fields: dict[str, Any]) -> None:
    with pytest.raises(PoisonError):
        Event.decode(json.dumps([VERSION, *astuple(event(**fields))[:-1]]))


@pytest.mark.django_db
def test_a_killed_drains_batch_is_given_to_the_next() -> None:
    emit(event())
    client = servers.durable()
    drain()
    emit(event(), event())
    client.xreadgroup(GROUP, "drain", {STREAM: ">"}, count=1)
    assert drain() == 2
    assert waiting() == 0


class Interrupted(Redis):
    """Before its second command another drain is given an entry, which it has not written yet."""

    commands = 0

    def _go_on(self) -> None:
        self.commands += 1
        if self.commands == 2:
            given_to_another()

    def xinfo_groups(self, name: Any) -> Any:
        self._go_on()
        return super().xinfo_groups(name)

    def xpending(self, name: Any, groupname: Any) -> Any:
        self._go_on()
        return super().xpending(name, groupname)


def given_to_another() -> None:
    servers.durable().xreadgroup(GROUP, CONSUMER, {STREAM: ">"}, count=1)


@pytest.mark.django_db
def test_what_another_drain_was_given_meanwhile_stays_in_the_stream() -> None:
    """Two workers: one writes, the other has just acknowledged. Killed, the first would have lost what is dropped."""
    emit(event())
    drain()
    emit(event(), event())
    _trim(Interrupted(connection_pool=servers.durable().connection_pool))
    assert waiting() == 2
    assert drain() == 2


@pytest.mark.django_db
def test_what_was_dropped_meanwhile_is_not_taken_for_unreadable() -> None:
    emit(event())
    drain()
    emit(event())
    given_to_another()
    servers.durable().xtrim(STREAM, maxlen=0, approximate=False)
    assert drain() == 0
    assert not servers.durable().exists(DEAD_LETTERS)


@pytest.mark.django_db
def test_a_keys_last_use_is_noted_at_most_once_a_minute(ada: User, project: Project) -> None:
    key, _secret = mint_key(project=project, name="k", by=ada)
    now = timezone.now()
    for seconds, moved in ((0, True), (30, False), (90, True)):
        before = key.last_used_at
        emit(event(id=uuid7_at(now + timedelta(seconds=seconds)), key_id=key.public_id))
        drain()
        key.refresh_from_db()
        assert (key.last_used_at != before) is moved


@pytest.mark.django_db
def test_where_a_secret_was_last_used_from_is_noted_and_forgotten(ada: User, project: Project) -> None:
    key, _secret = mint_key(project=project, name="k", by=ada)
    now, secret = timezone.now(), key.secrets.get()
    for minutes, address, agent in ((0, "192.0.2.7", "curl/8"), (2, "2001:db8::7", "nightly"), (4, "", "")):
        at = uuid7_at(now + timedelta(minutes=minutes))
        emit(event(id=at, key_id=key.public_id, secret_id=secret.public_id, address=address, user_agent=agent))
        drain()
        secret.refresh_from_db()
        assert (secret.last_used_address, secret.last_used_agent) == (address or None, agent)
    # Nothing but the latest is kept, anywhere.
    assert not UsageEvent.objects.filter(request_id__contains="192.0.2").exists()
    assert "192.0.2.7" not in str([vars(row) for row in UsageEvent.objects.all()])


@pytest.mark.django_db
def test_an_event_of_a_gateway_that_is_not_yet_updated_is_taken() -> None:
    version, *values = orjson.loads(event(user_agent="OpenAI/Python 2.8.0", reasoning_tokens=3).encode())
    assert version == 4
    third = [*values[:-4], *values[-3:]]
    second = [*values[:-9], *values[-3:]]
    assert (len(third), len(second)) == (28, 23)
    entries = [3, *third], [2, uuid7().hex, *second[1:]], [1, uuid7().hex, *second[1:-3]]
    for entry in entries:
        servers.durable().xadd(STREAM, {"e": orjson.dumps(entry).decode()})
    assert drain() == 3
    rows = UsageEvent.objects.values_list("reasoning_tokens", "deployment", "asked_model", "waited_ms", "client")
    assert sorted(rows) == [
        (0, "", "", 0, ""), (0, "", "", 0, "openai-python 2.8.0"), (3, "", "", 0, "openai-python 2.8.0")
    ]  # fmt: skip
    # What it did not tell apart counts as it did.
    assert {row.server_ms for row in UsageEvent.objects.all()} == {20}


@pytest.mark.django_db
def test_what_went_aside_of_the_version_before_does_not_say_where_the_call_came_from() -> None:
    version, *values = orjson.loads(event(address="203.0.113.9", user_agent="nightly").encode())
    values[10] = -1
    for text in ([version, *values], [3, *values[:-4], *values[-3:]], [2, *values[:-9], *values[-3:]]):
        servers.durable().xadd(STREAM, {"e": orjson.dumps(text).decode()})
    assert drain() == 0
    letters = str(servers.durable().lrange(DEAD_LETTERS, 0, -1))
    assert letters.count("proj_1") == 3
    assert "203.0.113" not in letters
    assert "nightly" not in letters


@pytest.mark.django_db
def test_what_is_known_of_a_call_besides_its_count_is_kept() -> None:
    emit(
        event(
            reasoning_tokens=4, deployment="org/M-7B", asked_model="latest", retries=2, failovers=1, waited_ms=5,
            user_agent="AsyncOpenAI/Python 2.8.0",
        )
    )  # fmt: skip
    drain()
    row = UsageEvent.objects.get()
    assert (row.reasoning_tokens, row.deployment, row.asked_model) == (4, "org/M-7B", "latest")
    assert (row.retries, row.failovers, row.client) == (2, 1, "openai-python 2.8.0")
    assert (row.waited_ms, row.server_ms) == (5, 15)


@pytest.mark.django_db
def test_staff_hear_of_what_went_aside(sam: User, django_capture_on_commit_callbacks: Any) -> None:
    emit(event(status=-1), event(), event(prompt_tokens=-1))
    with capture_logs() as logs, django_capture_on_commit_callbacks(execute=True):
        assert drain() == 1
    errors = [log["reason"] for log in logs if log["event"] == "usage_event_unreadable"]
    assert errors == ["status is '-1'", "prompt_tokens is '-1'"]
    assert [(told.recipient, told.count) for told in Notification.objects.all()] == [(sam, 1)]


@pytest.mark.django_db
def test_staff_hear_of_usage_that_nobody_writes(sam: User, ada: User) -> None:
    client, now = servers.durable(), timezone.now()
    look_for_delay()
    client.xadd(STREAM, {"e": event().encode()}, id=f"{int((now.timestamp() - LATE_SECONDS + 20) * 1000)}-0")
    look_for_delay()
    assert not Notification.objects.exists()
    client.delete(STREAM)
    client.xadd(STREAM, {"e": event().encode()}, id=f"{int((now.timestamp() - LATE_SECONDS) * 1000)}-0")
    with capture_logs() as logs:
        look_for_delay()
        look_for_delay()
    assert [(log["event"], log["log_level"], log["events"]) for log in logs] == [("usage_waits", "error", 1)] * 2
    assert [told.recipient for told in Notification.objects.all()] == [sam]


def test_whoever_watches_the_usage_worker_is_another() -> None:
    assert app.amqp.router.route({}, "usage.tasks.look_for_delay")["queue"].name == "default"
    assert app.amqp.router.route({}, "usage.tasks.ingest")["queue"].name == "usage"


@pytest.mark.django_db(transaction=True)
def test_nothing_is_written_while_the_ledger_is_compared() -> None:
    emit(event())
    is_paused, is_over = threading.Event(), threading.Event()

    def compare() -> None:
        with paused():
            is_paused.set()
            is_over.wait(10)
        connection.close()

    comparing = threading.Thread(target=compare)
    comparing.start()
    assert is_paused.wait(10)
    assert drain() == 0
    is_over.set()
    comparing.join()
    assert drain() == 1


DRAIN = "import django; django.setup(); from usage.ingest import drain\nwhile True: drain()"


@pytest.mark.django_db(transaction=True)
def test_killing_the_drain_loses_nothing_and_counts_nothing_twice() -> None:
    number, chance = 4_000, random.Random(5)
    database = connection.settings_dict
    place = f"{database['HOST']}:{database['PORT']}/{database['NAME']}"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "DATABASE_URL": f"postgres://{database['USER']}:{database['PASSWORD']}@{place}",
        "REDIS_URL": settings.REDIS_URL,
        "DATABASE_POOL_SIZE": "0",
    }
    done = threading.Event()

    def emit_all() -> None:
        for start in range(0, number, 50):
            emit(*(event(key_id=f"key_{(start + i) % 7}") for i in range(50)))
            done.wait(0.05)

    writer = threading.Thread(target=emit_all)
    writer.start()
    for _kill in range(3):
        process = subprocess.Popen([sys.executable, "-c", DRAIN], cwd=ROOT, env=environment)
        before = UsageEvent.objects.count()
        deadline = time.monotonic() + 30
        while UsageEvent.objects.count() == before and waiting() and time.monotonic() < deadline:
            done.wait(0.005)
        done.wait(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done.set()
    writer.join()
    # PostgreSQL may still be at the batch of the one that was killed, and no other drains until it is done.
    deadline = time.monotonic() + 30
    while waiting() and time.monotonic() < deadline:
        drain()
    assert UsageEvent.objects.count() == number
    for rollup in (UsageRollup5Min, UsageRollup15Min):
        sums = rollup.objects.aggregate(requests=Sum("requests"), cost=Sum("cost_nano"))
        assert sums == {"requests": number, "cost": number * 7}
    assert waiting() == 0
    pending: Any = servers.durable().xpending(STREAM, GROUP)
    assert pending["pending"] == 0

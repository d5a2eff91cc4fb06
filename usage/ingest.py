"""From the stream of usage events into PostgreSQL: each event once, and the roll-ups with it.

One transaction inserts a batch, skips what is there already, and adds to the roll-ups only what was really inserted.
The batch is acknowledged after the commit: killed before, it is delivered again; killed between, it is skipped.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Any, cast

import orjson
import structlog
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from apikeys.models import ApiKey, KeySecret
from common import redis as servers
from usage import histograms
from usage.alarms import alarm
from usage.events import (
    CLIENT_CLOSED,
    DEAD_LETTERS,
    GROUP,
    IN_ARRAY,
    ORIGIN,
    STREAM,
    Event,
    PoisonError,
    without_origin,
)
from usage.kinds import UNREADABLE, WAITS
from usage.models import MEASURES, ROLLUPS, CreditDraw, UsageEvent, UsageRollup5Min, UsageSums
from usage.reached import tell_of_budgets

log = structlog.get_logger(__name__)

BATCH = 5000
# One name for whoever drains: what the last one was given and did not acknowledge is then given to the next.
CONSUMER = "drain"
LOCK = 0x6C79_7573  # any number that nothing else in this database locks
MOST_SECONDS = 30.0
MOST_DEAD_LETTERS = 100_000
DEAD_LETTERS_KEPT = timedelta(days=30)
LATE_SECONDS = 120

Entry = tuple[str, dict[str, str] | None]

# The ledger has no column for where a call came from, but one for what made it.
NAMES = ("id", "at", "client", *(field.name for field in IN_ARRAY if field.name not in {"id", *ORIGIN}))
COLUMNS = ", ".join((*NAMES, "credit_nano", "draws"))
_values = attrgetter(*NAMES, "credit_nano", "draws_text")
# Kept by the session and emptied by each commit: a table made for every batch would litter the system's catalog.
INCOMING = (
    f"CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE {UsageEvent._meta.db_table}) ON COMMIT DELETE ROWS",
    "DELETE FROM incoming",
)
COPY = f"COPY incoming ({COLUMNS}) FROM STDIN"
START = "TIMESTAMPTZ '2000-01-01 00:00:00+00'"
TOLD_APART = ", ".join(sorted({column for table in ROLLUPS for column in table.CELL} - {"bucket_at"}))
# Of the events in `inserted`, by all that any table tells apart: each is looked at once, and the tables are made of
# these. A client that hung up is a call, but nobody's error; what the portal refuses is no model's time.
CELLS = f"""
cells AS (
    SELECT
        date_bin('{UsageRollup5Min.WIDTH}', at, {START}) AS bucket_at, {TOLD_APART}, count(*) AS requests,
        count(*) FILTER (WHERE status >= 400 AND status <> {CLIENT_CLOSED}) AS errors,
        sum(prompt_tokens) AS prompt_tokens, sum(cached_tokens) AS cached_tokens,
        sum(completion_tokens) AS completion_tokens, sum(reasoning_tokens) AS reasoning_tokens,
        sum(cost_nano) AS cost_nano, coalesce(sum(credit_nano), 0) AS credit_nano,
        coalesce(sum(latency_ms) FILTER (WHERE backend <> ''), 0) AS latency_ms_sum,
        coalesce(sum(waited_ms) FILTER (WHERE backend <> ''), 0) AS waited_ms_sum,
        count(*) FILTER (WHERE backend <> '') AS latency_count,
        coalesce(sum({histograms.of_one("latency_ms")}) FILTER (WHERE backend <> ''), 0) AS latency_histogram,
        coalesce(sum(first_token_ms), 0) AS first_token_ms_sum, count(first_token_ms) AS first_token_count,
        coalesce(sum({histograms.of_one("first_token_ms")}) FILTER (WHERE first_token_ms IS NOT NULL), 0)
            AS first_token_histogram
    FROM inserted
    GROUP BY 1, {TOLD_APART}
)
"""  # noqa: S608 - names only
SUMS = """
    SELECT date_bin('{width}', bucket_at, {start}) AS bucket_at, {who}, {measures} FROM cells GROUP BY 1, {who}
"""
ROLL_UP = """
    INSERT INTO {table} AS kept ({columns}, updated_at)
    SELECT {columns}, now() FROM ({sums}) AS summed
    ORDER BY {cell}
    ON CONFLICT ({cell}) DO UPDATE SET {added}, updated_at = excluded.updated_at
"""


def columns_of(table: type[UsageSums]) -> str:
    """What the rows of `sums` have in a table, but for when they were changed."""
    return ", ".join((*_cell(table), *MEASURES))


def sums(table: type[UsageSums]) -> str:
    """The query for the rows that a table of sums has of the events in `cells`."""
    _bucket, *who = _cell(table)
    measures = ", ".join(f"sum({name}) AS {name}" for name in MEASURES)
    return SUMS.format(width=table.WIDTH, start=START, who=", ".join(who), measures=measures)


def roll_up(table: type[UsageSums]) -> str:
    """The statement that adds the events in `cells` to a table of sums."""
    added = ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in MEASURES)
    return ROLL_UP.format(
        table=table._meta.db_table,
        columns=columns_of(table),
        cell=", ".join(table.CELL),
        sums=sums(table),
        added=added,
    )


DRAWN = "grant_id, day, organization_id, nano"
# Of the events in `inserted`, what each grant of credits paid.
DRAWS = """
    SELECT draw.key AS grant_id, (at AT TIME ZONE 'UTC')::date AS day, organization_id, sum(draw.value::bigint) AS nano
    FROM inserted, jsonb_each_text(draws) AS draw
    WHERE draws IS NOT NULL
    GROUP BY 1, 2, 3
"""
ADD_DRAWS = f"""
    INSERT INTO {CreditDraw._meta.db_table} AS kept ({DRAWN})
    SELECT {DRAWN} FROM ({DRAWS}) AS summed
    ORDER BY grant_id, day
    ON CONFLICT (grant_id, day) DO UPDATE SET nano = kept.nano + excluded.nano
"""  # noqa: S608 - names only


def _cell(table: type[UsageSums]) -> Sequence[str]:
    return ("bucket_at", *(column for column in table.CELL if column != "bucket_at"))


STATEMENT = f"""
WITH inserted AS (
    INSERT INTO {UsageEvent._meta.db_table} ({COLUMNS})
    SELECT {COLUMNS} FROM incoming
    ON CONFLICT DO NOTHING
    RETURNING *
), {CELLS}, {", ".join(f"into_{table._meta.db_table} AS ({roll_up(table)})" for table in ROLLUPS)},
into_draws AS ({ADD_DRAWS})
SELECT count(*) FROM inserted
"""  # noqa: S608 - names only

# At most once a minute for each: rows written at every call would be the busiest in the database.
MARK_KEYS_USED = f"""
UPDATE {ApiKey._meta.db_table} AS key SET last_used_at = used.at
FROM unnest(%s::text[], %s::timestamptz[]) AS used(key_id, at)
WHERE key.public_id = used.key_id AND (key.last_used_at IS NULL OR key.last_used_at < used.at - INTERVAL '1 minute')
"""  # noqa: S608 - a table name only
MARK_SECRETS_USED = f"""
UPDATE {KeySecret._meta.db_table} AS secret
SET last_used_at = used.at, last_used_address = used.address, last_used_agent = used.agent
FROM unnest(%s::text[], %s::timestamptz[], %s::inet[], %s::text[]) AS used(secret_id, at, address, agent)
WHERE secret.public_id = used.secret_id
    AND (secret.last_used_at IS NULL OR secret.last_used_at < used.at - INTERVAL '1 minute')
"""  # noqa: S608 - a table name only


def ingest() -> int:
    """`drain`, waiting for better times where Redis or PostgreSQL is away: what waits in the stream is safe there."""
    try:
        return drain()
    except (OperationalError, InterfaceError, RedisError) as error:
        log.warning("ingest_waits", error=type(error).__name__)
        return 0


def drain() -> int:
    """Write waiting events until there are none, and tell how many were new. Does nothing while another does it."""
    client = servers.durable()
    _open_group(client)
    deadline = time.monotonic() + MOST_SECONDS
    inserted = 0
    # First what a drain that was killed had been given, then what is new.
    for after in ("0", ">"):
        while time.monotonic() < deadline:
            result = _drain_batch(client, after)
            if result is None:
                break
            inserted += result
    return inserted


def _drain_batch(client: Redis, after: str) -> int | None:
    """Write one batch and tell how many events were new; None when there is nothing to do."""
    with transaction.atomic():
        if not _is_alone():
            return None
        answer = cast("list[tuple[str, list[Entry]]]", client.xreadgroup(GROUP, CONSUMER, {STREAM: after}, count=BATCH))
        entries = answer[0][1] if answer else []
        if not entries:
            return None
        inserted, letters = _write(entries)
    # In one step, so that what is delivered again is not put aside again.
    step = client.pipeline(transaction=True)
    if letters:
        step.rpush(DEAD_LETTERS, *letters)
        step.ltrim(DEAD_LETTERS, -MOST_DEAD_LETTERS, -1)
    step.xack(STREAM, GROUP, *(identifier for identifier, _fields in entries))
    step.execute()
    _trim(client)
    return inserted


def _write(entries: Sequence[Entry]) -> tuple[int, list[str]]:
    """Write a batch: how many of its events were new, and the letters of those that can never be written."""
    events: list[tuple[Entry, Event]] = []
    letters: list[str] = []
    for entry in entries:
        # An entry that was deleted while it waited comes without fields.
        if not entry[1]:
            continue
        try:
            events.append((entry, Event.of_entry(entry[1])))
        except PoisonError as error:
            letters.append(_dead_letter(entry, str(error)))
    inserted = _insert(events, letters)
    tell_of_budgets([event for _entry, event in events])
    return inserted, letters


def _insert(events: Sequence[tuple[Entry, Event]], letters: list[str]) -> int:
    """Insert what can be inserted: an event that PostgreSQL refuses is found by halving, and keeps no other back. It is
    added to the letters."""
    if not events:
        return 0
    try:
        return insert_all([event for _entry, event in events])
    except (DataError, IntegrityError) as error:
        if len(events) == 1:
            letters.append(_dead_letter(events[0][0], str(error)))
            return 0
        middle = len(events) // 2
        return _insert(events[:middle], letters) + _insert(events[middle:], letters)


@transaction.atomic
def insert_all(events: Sequence[Event]) -> int:
    """Insert events and add those that were new to the roll-ups. Tells how many they were."""
    # Copying does not go through Django's cursor, so its errors are made Django's here.
    with connection.cursor() as cursor, connection.wrap_database_errors:
        for statement in INCOMING:
            cursor.execute(statement)
        with cursor.copy(COPY) as copy:
            for event in events:
                copy.write_row(_values(event))
        cursor.execute(STATEMENT)
        (inserted,) = cursor.fetchone()
        _mark_used(cursor, events)
    return int(inserted)


def _mark_used(cursor: CursorWrapper, events: Sequence[Event]) -> None:
    by_time = sorted(events, key=lambda event: event.id)
    keys = {event.key_id: event.at for event in by_time if event.key_id}
    secrets = {event.secret_id: event for event in by_time if event.secret_id}
    if keys:
        cursor.execute(MARK_KEYS_USED, [list(keys), list(keys.values())])
    if secrets:
        last = list(secrets.values())
        cursor.execute(
            MARK_SECRETS_USED,
            [
                list(secrets),
                [event.at for event in last],
                [event.address or None for event in last],
                [event.user_agent for event in last],
            ],
        )


def _dead_letter(entry: Entry, reason: str) -> str:
    """What is put where staff can look at it of an event that can never be written: all but where the call came from.

    Erasure does not reach it there. The reason is cut at its first line: in the others PostgreSQL quotes the row.
    """
    identifier, kept = entry
    reason = reason.partition("\n")[0][:500]
    transaction.on_commit(partial(alarm, UNREADABLE, entry=identifier, reason=reason), robust=True)
    kept = {name: without_origin(text) for name, text in (kept or {}).items()}
    return orjson.dumps({"entry": identifier, "fields": kept, "reason": reason}).decode()


def forget_dead_letters() -> None:
    """Drop what nobody looked at for as long as it is kept: it may hold anything, and is nobody's to erase."""
    client = servers.durable()
    oldest_kept = (timezone.now() - DEAD_LETTERS_KEPT).timestamp() * 1000
    while letter := client.lindex(DEAD_LETTERS, 0):
        if int(orjson.loads(cast(str, letter))["entry"].partition("-")[0]) >= oldest_kept:
            return
        # By its text: of two who do this at once, neither drops the next one.
        client.lrem(DEAD_LETTERS, 1, cast(str, letter))


def look_for_delay() -> None:
    """Alarm whoever runs the portal when usage has waited for minutes: nobody ingests, or nobody can."""
    client = servers.durable()
    oldest = cast("list[Entry]", client.xrange(STREAM, count=1))
    if not oldest:
        return
    seconds, _microseconds = cast("tuple[int, int]", client.time())
    age = seconds - int(oldest[0][0].partition("-")[0]) // 1000
    if age >= LATE_SECONDS:
        alarm(WAITS, seconds=age, events=client.xlen(STREAM))


def _is_alone() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


@contextmanager
def paused(*, shared: bool = False) -> Iterator[None]:
    """Nothing is written into the ledger meanwhile, so that it can be compared with what waits in the stream.

    Those who `shared` it can be at it at the same time; they must not write into the ledger.
    """
    lock = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {lock}(%s)", [LOCK])
        yield


def _open_group(client: Redis) -> None:
    try:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


def _trim(client: Redis) -> None:
    """Drop what is in the ledger from the stream: everything before the oldest entry not yet acknowledged."""
    groups = cast("list[dict[str, Any]]", client.xinfo_groups(STREAM))
    group = next(group for group in groups if group["name"] == GROUP)
    # After that: what another drain is given in between is not before `oldest`, and what it was given earlier waits.
    pending = cast("dict[str, Any]", client.xpending(STREAM, GROUP))
    if pending["pending"]:
        oldest = pending["min"]
    else:
        milliseconds, _dash, number = group["last-delivered-id"].partition("-")
        oldest = f"{milliseconds}-{int(number) + 1}"
    client.xtrim(STREAM, minid=oldest, approximate=False)

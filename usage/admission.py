"""Admit and settle: what a call may use is reserved before it, and corrected after it, in one atomic step each.

A call counts against every scope of its caller together. Its hold has a lease: a process that dies cannot keep a slot
or money, and what it had reserved is settled by `reap`, never given back whole. While Redis is away, calls that cannot
cost money against a budget go on under limits kept in this process, and what they used goes to the disk.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

import orjson
import structlog
from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from common import redis as servers
from common.errors import ApiError
from common.limits import Limits
from usage.counters import ORGANIZATIONS, Counted, Counter, Reach, Used, base_of, belongs_to, used_of
from usage.events import STREAM, Event, PoisonError
from usage.explaining import BudgetUnknownError, Refused, headers_for, refusal
from usage.ingest import paused
from usage.link import LinkDownError, RedisLink
from usage.models import UsageEvent
from usage.policies import MODEL, ORGANIZATION, Caller, Scope
from usage.scripts import ADMIT, HEARTBEAT, SEED_BEGIN, SEED_END, SETTLE
from usage.spool import Settlement, Spool
from usage.threads import DatabaseAwayError, in_thread

log = structlog.get_logger(__name__)

LEASE_MS = 30_000
# How often a process says which calls it has running.
HEARTBEAT_SECONDS = 10.0
WINDOW_SECONDS = 60
MOST_REAPED = 10_000
SEED_MS = 10_000
# After Redis lost its data: in this time each process has said what its calls hold, by a heartbeat that may be late.
CLOSED_MS = int(HEARTBEAT_SECONDS * 1000) + 3000
# After its period a counter is kept for calls that end late, and for being compared with the records.
COUNTER_KEPT = timedelta(days=9)
# How long a counter is trusted that calls run beside which it will not count.
COUNTED_AGAIN_SECONDS = 30
READ_AT_ONCE = 1000
# Redis writes to its disk what it has answered; up to two seconds later where the disk is busy.
UNWRITTEN_SECONDS = 2.5
# The second, by the clock of Redis, in which it was first seen to be without data.
SINCE = "ly:since"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a call may use. It needs `needed_tokens` to run at all, and reserves `wanted_tokens` where they are left.

    `most_nano` is a true upper bound of its cost, zero for a free model: only then may it pass a budget unseen. A call
    that `may_overrun`, since it hardly ever costs that much, is let in while any money is left, and `needed_tokens`. It
    reserves all of both even so, and who comes next finds nothing: a budget, or a limit on tokens, is overrun by what
    one such call can cost, not by many.
    `limits` are those of the model; None when it has none.
    """

    model: str
    needed_tokens: int
    wanted_tokens: int
    most_nano: int
    may_overrun: bool = False
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that was let in, and what to settle it with. `hold` is how Redis has it on record, if it has."""

    id: str
    counted: Counted
    headers: dict[str, str]
    hold: str
    is_local: bool


@dataclass(slots=True)
class _LocalWindow:
    """The last minute of one scope, for while Redis is away."""

    calls: deque[tuple[float, int]] = field(default_factory=deque)
    tokens: int = 0

    def slide(self, now: float) -> None:
        while self.calls and self.calls[0][0] <= now - WINDOW_SECONDS:
            self.tokens -= self.calls.popleft()[1]


class Admissions:
    """Admits and settles for one event loop."""

    def __init__(self, link: RedisLink, spool: Spool) -> None:
        self._link = link
        self._spool = spool
        self._local: dict[str, _LocalWindow] = {}
        self._running: dict[str, int] = {}
        self._seeding: dict[str, asyncio.Task[None]] = {}
        self._spooling: set[asyncio.Task[None]] = set()
        self._settled: deque[tuple[float, Settlement]] = deque()

    async def admit(self, caller: Caller, demand: Demand, *, id: str, lost: Event) -> Admission:  # noqa: A002
        """Let a call in under `id`, or raise RateLimitError, BudgetError or OverloadedError.

        `lost` is the event it is settled with if this process dies before it says otherwise.
        """
        model = None if demand.limits is None else Scope(MODEL, demand.model, demand.limits)
        # By the id, as the ledger does: in a month that just began, or by a clock that jumped, now is another month.
        reach = Reach.of(caller, lost.at, model=model)
        counted = reach.counted
        keys, args = counted.keys(ORGANIZATIONS), _admit_arguments(reach, demand, id, lost)
        may_be_held = self._link.is_up
        try:
            reply = await self._link.run(ADMIT, keys=keys, args=args)
            for _unknown in reach.counters:
                if reply[0] != "seed":
                    break
                # The answer names the first that is not known here.
                await self._seed(caller, reach.counters[int(reply[2]) - 1])
                reply = await self._link.run(ADMIT, keys=keys, args=args)
        except asyncio.CancelledError:
            # The client left while Redis was deciding. This goes by the same connection, so it comes after.
            self._send(_nothing_used(counted, id))
            raise
        except (LinkDownError, RedisError) as error:
            try:
                return self._admit_locally(caller, reach, demand, id)
            except ApiError:
                log.warning("refused_without_redis", error=type(error).__name__)
                if may_be_held:
                    # The script may have run before its answer was lost: the reaper would bill the call refused here.
                    self._do(self._append(_nothing_used(counted, id)))
                raise
        left = [int(number) for number in reply[3 if reply[0] == "ok" else 7 :]]
        headers = headers_for(reach, left, reset_ms=int(reply[1]))
        if reply[0] == "ok":
            return Admission(id, counted, headers, hold=reply[2], is_local=False)
        raise refusal(caller, reach, demand.model, _refused(reply, reach, demand), headers)

    def settle(self, admission: Admission, event: Event) -> "asyncio.Future[Any]":
        """Settle a call. It is done, on disk at worst, whether or not the future is awaited."""
        if admission.is_local:
            self._settle_locally(admission)
        return self._send(settlement(admission, event))

    def undo(self, admission: Admission) -> Admission:
        """Give back all that a call holds, as if it had used nothing; it counts as a request all the same. Gives an
        admission with nothing left in it, which a call that is over is settled with."""
        if admission.is_local:
            self._settle_locally(admission)
        self._send(_nothing_used(admission.counted, admission.id))
        return replace(admission, hold="", is_local=False)

    def extend(self, admission: Admission, lost: Event) -> "asyncio.Future[Any] | None":
        """Extend the lease of a running call, which has come as far as `lost` says. One that Redis has not on record
        has no lease. The future need not be awaited; it gives 0 for a call that was taken for dead and settled."""
        if not admission.hold:
            return None
        counted = admission.counted
        base = base_of(counted.organization_id)
        keys = [SINCE, ORGANIZATIONS, f"{base}leases", f"{base}holds"]
        keys += [base + name for name in (*counted.running, *counted.counters)]
        tail = _hold_tail(counted, lost)
        args = [admission.id, str(LEASE_MS), admission.hold, tail, counted.organization_id, str(len(counted.running))]
        return self._link.run(HEARTBEAT, keys=keys, args=args)

    def forget_local(self) -> None:
        """Drop the limits kept here: Redis has them again."""
        self._local.clear()
        self._running.clear()

    async def spool_unwritten(self) -> None:
        """Put on the disk what Redis, which just went away, had settled and may not have written: a crash takes that
        along. What it did write is settled twice, which does no harm."""
        self._forget_written()
        settled, self._settled = self._settled, deque()
        await asyncio.gather(*(self._append(what) for _at, what in settled))

    async def close(self) -> None:
        """Wait until everything that goes to the disk is there."""
        await asyncio.gather(*self._spooling)

    def _send(self, what: Settlement) -> "asyncio.Future[Any]":
        future = self._link.run(SETTLE, keys=what.keys, args=what.args)

        def spool_if_lost(done: "asyncio.Future[Any]") -> None:
            if done.cancelled() or done.exception() is None:
                self._forget_written()
                self._settled.append((time.monotonic(), what))
                return
            self._do(self._append(what))

        future.add_done_callback(spool_if_lost)
        return future

    def _forget_written(self) -> None:
        written = time.monotonic() - UNWRITTEN_SECONDS
        while self._settled and self._settled[0][0] < written:
            self._settled.popleft()

    async def _append(self, what: Settlement) -> None:
        try:
            await self._spool.append(what)
        except OSError:
            # Redis and the disk both refuse: the log is the last place where it can be found again.
            log.critical("settlement_lost", settlement=list(what.args))

    def _do(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._spooling.add(task)
        task.add_done_callback(self._spooling.discard)

    # While Redis is away ------------------------------------------------------------------------------------------

    def _admit_locally(self, caller: Caller, reach: Reach, demand: Demand, identifier: str) -> Admission:
        if demand.most_nano and any(counter.money is not None for counter in reach.limits):
            raise BudgetUnknownError("Your budget cannot be checked at the moment.", wait_seconds=2)
        now, counted = time.monotonic(), reach.counted
        left: list[int] = []
        for number, (scope, name) in enumerate(zip(reach.windows, counted.windows, strict=True), 1):
            window = self._local.setdefault(name, _LocalWindow())
            window.slide(now)
            requests, tokens = _share(scope.limits.requests_per_minute), _share(scope.limits.tokens_per_minute)
            used, wait = len(window.calls), WINDOW_SECONDS - (now - window.calls[0][0]) if window.calls else 0.0
            if requests is not None and used >= requests:
                refused = Refused("requests", number, requests, used, 1, wait)
                raise refusal(caller, reach, demand.model, refused, {})
            if tokens is not None and window.tokens + demand.needed_tokens > tokens:
                waits = None if demand.needed_tokens > tokens else wait
                refused = Refused("tokens", number, tokens, window.tokens, demand.needed_tokens, waits)
                raise refusal(caller, reach, demand.model, refused, {})
            left.append(-1 if requests is None else requests - used - 1)
            left.append(-1 if tokens is None else tokens - window.tokens - demand.needed_tokens)
        for number, (scope, name) in enumerate(zip(reach.running, counted.running, strict=True), 1):
            most, running = _share(scope.limits.concurrent_requests) or 0, self._running.get(name, 0)
            if running >= most:
                refused = Refused("concurrency", number, most, running, 1, 1.0)
                raise refusal(caller, reach, demand.model, refused, {})
        for name in counted.windows:
            self._local[name].calls.append((now, demand.needed_tokens))
            self._local[name].tokens += demand.needed_tokens
        for name in counted.running:
            self._running[name] = self._running.get(name, 0) + 1
        headers = headers_for(reach, left, reset_ms=WINDOW_SECONDS * 1000)
        return Admission(identifier, counted, headers, hold="", is_local=True)

    def _settle_locally(self, admission: Admission) -> None:
        for name in admission.counted.running:
            self._running[name] = max(0, self._running.get(name, 0) - 1)

    # A counter that Redis does not know yet -----------------------------------------------------------------------

    async def _seed(self, caller: Caller, counter: Counter) -> None:
        key = base_of(caller.organization_id) + counter.name
        task = self._seeding.get(key)
        if task is None:
            task = asyncio.ensure_future(self._seed_alone(caller, counter))
            self._seeding[key] = task
            task.add_done_callback(lambda _done: self._seeding.pop(key, None))
        await asyncio.shield(task)

    async def _seed_alone(self, caller: Caller, counter: Counter) -> None:
        deadline = time.monotonic() + 3
        try:
            while not await in_thread(lambda: seed(caller, counter)):
                if time.monotonic() > deadline:
                    raise BudgetUnknownError("Your budget is being counted. Try again.", wait_seconds=2)
                await asyncio.sleep(0.05)
        except DatabaseAwayError:
            raise BudgetUnknownError("Your budget cannot be checked at the moment.", wait_seconds=2) from None


def settlement(admission: Admission, event: Event) -> Settlement:
    """How to settle `admission` with `event`."""
    return _settlement(
        admission.counted,
        id=admission.id,
        used=Used.by(event),
        event=event.encode().decode(),
        head=admission.hold,
    )


def _nothing_used(counted: Counted, identifier: str) -> Settlement:
    """How to undo an admission that nobody knows of: nothing used, no event."""
    return _settlement(counted, id=identifier, used=Used(), event="")


def settle_now(what: Settlement) -> None:
    """Settle on the synchronous client: for replaying the spool. Raises RedisError when Redis is away."""
    SETTLE.run(servers.durable(), keys=what.keys, args=what.args)


def reap() -> int:
    """Settle every call whose lease has ended, as far as it is known to have come, and tell how many there were."""
    client = servers.durable()
    reaped = 0
    seconds, microseconds = cast("tuple[int, int]", client.time())
    # Not only when a counter is first needed: it would be closed for so much longer.
    client.set(SINCE, seconds, nx=True)
    now = seconds * 1000 + microseconds // 1000
    for organization_id in client.sscan_iter(ORGANIZATIONS):
        base = base_of(organization_id)
        ended = cast("list[str]", client.zrangebyscore(f"{base}leases", "-inf", now, start=0, num=MOST_REAPED))
        for identifier in ended:
            hold = cast("str | None", client.hget(f"{base}holds", identifier))
            if hold is None:
                client.zrem(f"{base}leases", identifier)
                continue
            try:
                what = _settlement_of_hold(organization_id, identifier, hold)
            except (PoisonError, ValueError, KeyError):
                log.exception("hold_unreadable", hold=identifier)
                continue
            reaped += SETTLE.run(client, keys=what.keys, args=what.args) == 1
    return reaped


def _settlement_of_hold(organization_id: str, identifier: str, hold: str) -> Settlement:
    tail = tail_of(hold)
    event = Event.decode(tail["event"])
    # Of a process of the version before, which named other keys: its event is what counts.
    names = (tuple(tail.get(kind, ())) for kind in ("windows", "running", "counters"))
    return _settlement(
        Counted(organization_id, *names),
        id=identifier,
        used=Used.by(event),
        event=tail["event"],
        only_if_ended=True,
    )


def draws_of(hold: str) -> list[int]:
    """What a hold, or its head, has reserved of each grant of credits."""
    draws = hold.split("|", 5)[4:5]
    return [int(draw) for draw in draws[0].split(",")] if draws and draws[0] and draws[0][0] != "{" else []


def tail_of(hold: str) -> dict[str, Any]:
    """What the process that has the call put into its hold."""
    tail: dict[str, Any] = orjson.loads(hold[hold.index("{") :])
    return tail


def seed(caller: Caller, counter: Counter) -> bool:
    """Fill a counter in Redis from the records. False when it is not done yet: ask again in a moment.

    Raises BudgetUnknownError when Redis lost its data a moment ago, and running calls have not said yet what they hold.
    """
    # An event that reached the ledger in between would be counted by its settlement, and with the sums once more.
    with paused(shared=True):
        return _seed(caller, counter)


def _seed(caller: Caller, counter: Counter) -> bool:
    client, base = servers.durable(), base_of(caller.organization_id)
    key, scope, period = base + counter.name, counter.scope, counter.period
    belongs = belongs_to(caller, scope, period)
    # A clock that is wrong may ask for a period that is long over.
    forgotten_at = max(period.end, int(time.time())) + int(COUNTER_KEPT.total_seconds())
    if _runs_uncounted(client, base, counter.name, belongs):
        forgotten_at = int(time.time()) + COUNTED_AGAIN_SECONDS
    amount = str(counter.money) if counter.is_grant else ""
    arguments = [str(SEED_MS), str(CLOSED_MS), str(forgotten_at), counter.name, amount]
    answer = SEED_BEGIN.run(client, keys=[SINCE, key, STREAM, f"{base}holds"], args=arguments)
    if answer[0] == "closed":
        raise BudgetUnknownError("What you have used is being counted. Try again.", wait_seconds=int(answer[1]) / 1000)
    if answer[0] != "begun":
        return bool(answer[0] == "ready")
    token, last = answer[1], answer[2]
    used = used_of(caller, scope, period)
    for event in waiting_events(last, belongs):
        used = used.plus(Used.by(event).counted_in(scope.kind, event.draws, scope.id))
    return bool(SEED_END.run(client, keys=[key], args=[token, *map(str, used)]))


def _runs_uncounted(client: Redis, base: str, name: str, belongs: Callable[[Event], bool]) -> bool:
    """Whether a call runs that belongs to a counter and does not know it, because its limit was set meanwhile: nothing
    adds it when it ends, so that the counter is to be filled anew before long."""
    for hold in cast("list[str]", client.hvals(f"{base}holds")):
        try:
            tail = tail_of(hold)
            if name not in tail.get("counters", ()) and belongs(Event.decode(tail["event"])):
                return True
        except (PoisonError, ValueError, KeyError):
            continue
    return False


def running_calls(organization_id: str) -> Iterator[Event]:
    """The calls of an organization that go on, as far as they are known to have come. Raises RedisError."""
    for hold in cast("list[str]", servers.durable().hvals(f"{base_of(organization_id)}holds")):
        with suppress(PoisonError, ValueError, KeyError):
            yield Event.decode(tail_of(hold)["event"])


def waiting_events(last: str, belongs: Callable[[Event], bool]) -> list[Event]:
    """Those of the events up to an entry of the stream that are not in the ledger yet.

    While ingestion is paused nothing is missing, and nothing is there twice: of an event that was appended twice the
    first counts, which is the one that will be written.
    """
    found: dict[str, Event] = {}
    for event in _events_up_to(last):
        if belongs(event):
            found.setdefault(event.id, event)
    ids = list(found)
    for start in range(0, len(ids), READ_AT_ONCE):
        for known in UsageEvent.objects.filter(pk__in=ids[start : start + READ_AT_ONCE]).values_list("pk", flat=True):
            del found[known.hex]
    return list(found.values())


def _events_up_to(last: str) -> Iterator[Event]:
    first = "-"
    while True:
        entries = cast(
            "list[tuple[str, dict[str, str]]]", servers.durable().xrange(STREAM, first, last, count=READ_AT_ONCE)
        )
        for _entry, fields in entries:
            try:
                yield Event.of_entry(fields)
            except PoisonError:
                continue
        if len(entries) < READ_AT_ONCE:
            return
        first = f"({entries[-1][0]}"


def _admit_arguments(reach: Reach, demand: Demand, identifier: str, lost: Event) -> tuple[str, ...]:
    wanted = max(demand.wanted_tokens, demand.needed_tokens)
    return (
        identifier,
        str(LEASE_MS),
        str(demand.most_nano),
        str(demand.needed_tokens),
        str(wanted),
        _hold_tail(reach.counted, lost),
        reach.organization_id,
        *reach.arguments,
        str(min(1, demand.most_nano) if demand.may_overrun else demand.most_nano),
        str(wanted if demand.may_overrun else demand.needed_tokens),
    )


def _settlement(
    counted: Counted,
    *,
    id: str,  # noqa: A002
    used: Used,
    event: str,
    head: str = "",
    only_if_ended: bool = False,
) -> Settlement:
    return Settlement(
        counted.keys(STREAM),
        (
            id,
            str(used.cost_nano),
            str(used.tokens),
            event,
            "1" if only_if_ended else "",
            head.partition("|")[0] or "0",
            *counted.sizes,
            str(used.requests),
            str(used.gpu_ms),
            ",".join(map(str, draws_of(head))),
        ),
    )


def _hold_tail(counted: Counted, lost: Event) -> str:
    """What the reaper needs to settle a hold without its process."""
    tail = {
        "windows": counted.windows,
        "running": counted.running,
        "counters": counted.counters,
        "event": lost.encode().decode(),
    }
    return orjson.dumps(tail).decode()


def _share(limit: int | None) -> int | None:
    """What each of the web processes allows of a limit while they cannot count together."""
    return None if limit is None else max(1, limit // settings.GATEWAY_PROCESSES)


def _refused(reply: list[str], reach: Reach, demand: Demand) -> Refused:
    """What the script says, and what was asked of that limit."""
    kind, number, limit, used, wait_ms = reply[0], *map(int, reply[2:6])
    requested, credit = 1, 0
    if kind in {"tokens", "period_tokens"}:
        requested = demand.needed_tokens
    elif kind == "budget":
        credit = int(reply[6]) if reach.counters[number - 1].scope.kind == ORGANIZATION else 0
        requested = demand.most_nano - credit
    return Refused(kind, number, limit, used, requested, wait_ms / 1000 if wait_ms >= 0 else None, credit)

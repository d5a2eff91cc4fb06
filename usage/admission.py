"""Admit and settle: what a call may use is reserved before it, and corrected after it, in one atomic step each.

A call counts against every scope of its caller together. Its hold has a lease: a process that dies cannot keep a slot
or money, and what it had reserved is settled by `reap`, never given back whole. While Redis is away, calls that cannot
cost money against a budget go on under limits kept in this process, and what they used goes to the disk.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import structlog
from django.db.models import Q, Sum
from redis.exceptions import RedisError

from apikeys.models import ApiKey
from common import redis as servers
from common.errors import AllowanceError, ApiError, BudgetError, OverloadedError, RateLimitError
from common.money import display_dollars
from usage.allowances import next_month
from usage.events import STREAM, Event, PoisonError
from usage.ingest import paused
from usage.link import LinkDownError, RedisLink
from usage.models import UsageEvent, UsageRollup15Min
from usage.policies import PARTICIPANT, Caller, Scope
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
BUDGET_KEPT_DAYS = 40
READ_AT_ONCE = 1000
# Redis writes to its disk what it has answered; up to two seconds later where the disk is busy.
UNWRITTEN_SECONDS = 2.5
# Organizations with leases, for the reaper. A plain set: an entry too many costs one empty look.
ORGANIZATIONS = "ly:leases"
# The second, by the clock of Redis, in which it was first seen to be without data.
SINCE = "ly:since"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a call may use. It needs `needed_tokens` to run at all, and reserves `wanted_tokens` where they are left.

    `most_nano` is a true upper bound of its cost, zero for a free model: only then may it pass a budget unseen.
    """

    model: str
    needed_tokens: int
    wanted_tokens: int
    most_nano: int


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that was let in, and what to settle it with. `hold` is how Redis has it on record, if it has."""

    id: str
    organization_id: str
    scopes: tuple[Scope, ...]
    period: str
    headers: dict[str, str]
    hold: str
    is_local: bool


class BudgetUnknownError(OverloadedError):
    """What is left of a budget could not be told in time. No model was asked, so usage must not blame one."""

    default_code = "budget_unknown"


@dataclass(slots=True)
class _LocalWindow:
    """The last minute of one scope, for while Redis is away."""

    calls: deque[tuple[float, int]] = field(default_factory=deque)
    tokens: int = 0
    running: int = 0

    def slide(self, now: float) -> None:
        while self.calls and self.calls[0][0] <= now - WINDOW_SECONDS:
            self.tokens -= self.calls.popleft()[1]


class Admissions:
    """Admits and settles for one event loop."""

    def __init__(self, link: RedisLink, spool: Spool) -> None:
        self._link = link
        self._spool = spool
        self._local: dict[tuple[str, str], _LocalWindow] = {}
        self._seeding: dict[str, asyncio.Task[None]] = {}
        self._spooling: set[asyncio.Task[None]] = set()
        self._settled: deque[tuple[float, Settlement]] = deque()

    async def admit(self, caller: Caller, demand: Demand, *, id: str, lost: Event) -> Admission:  # noqa: A002
        """Let a call in under `id`, or raise RateLimitError, BudgetError or OverloadedError.

        `lost` is the event it is settled with if this process dies before it says otherwise.
        """
        # By the id, as the ledger does: in a month that just began, or by a clock that jumped, now is another month.
        period = month_of(lost.at)
        keys, args = _admit_arguments(caller, demand, id, period, lost)
        may_be_held = self._link.is_up
        try:
            reply = await self._link.run(ADMIT, keys=keys, args=args)
            for _unknown in caller.scopes:
                if reply[0] != "seed":
                    break
                # Each scope has a budget of its own, and the answer names the first that is not known here.
                await self._seed(caller, caller.scopes[int(reply[2]) - 1], period)
                reply = await self._link.run(ADMIT, keys=keys, args=args)
        except asyncio.CancelledError:
            # The client left while Redis was deciding. This goes by the same connection, so it comes after.
            self._send(release(caller, id, period))
            raise
        except (LinkDownError, RedisError) as error:
            try:
                return self._admit_locally(caller, demand, id, period)
            except ApiError:
                log.warning("refused_without_redis", error=type(error).__name__)
                if may_be_held:
                    # The script may have run before its answer was lost: the reaper would bill the call refused here.
                    self._do(self._append(release(caller, id, period)))
                raise
        left = [int(number) for number in reply[3 if reply[0] == "ok" else 6 :]]
        headers = _headers(caller.scopes, left, reset_ms=int(reply[1]))
        if reply[0] == "ok":
            return Admission(id, caller.organization_id, caller.scopes, period, headers, hold=reply[2], is_local=False)
        raise _refusal(caller, demand, reply, headers)

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
        scopes = [(scope.kind, scope.id) for scope in admission.scopes]
        self._send(_nothing_used(admission.organization_id, scopes, admission.period, admission.id))
        return replace(admission, hold="", is_local=False)

    def extend(self, admission: Admission, lost: Event) -> None:
        """Extend the lease of a running call, which has come as far as `lost` says. One that Redis has not on record
        has no lease."""
        if not admission.hold:
            return
        base = f"ly:{{{admission.organization_id}}}:"
        keys = [SINCE, ORGANIZATIONS, f"{base}leases", f"{base}holds"]
        for scope in admission.scopes:
            keys += _scope_keys(base, scope.kind, scope.id, admission.period)[1:]
        tail = _hold_tail(admission.scopes, admission.period, lost)
        args = [admission.id, str(LEASE_MS), admission.hold, tail, admission.organization_id, str(BUDGET_KEPT_DAYS)]
        self._link.run(HEARTBEAT, keys=keys, args=args)

    def forget_local(self) -> None:
        """Drop the limits kept here: Redis has them again."""
        self._local.clear()

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

    def _admit_locally(self, caller: Caller, demand: Demand, identifier: str, period: str) -> Admission:
        if caller.has_budget and demand.most_nano:
            raise BudgetUnknownError("Your budget cannot be checked at the moment.", wait_seconds=2)
        now = time.monotonic()
        left: list[int] = []
        for scope in caller.scopes:
            window = self._local.setdefault((scope.kind, scope.id), _LocalWindow())
            window.slide(now)
            requests, tokens = _rates(scope)
            wait = WINDOW_SECONDS - (now - window.calls[0][0]) if window.calls else 0.0
            if len(window.calls) >= requests:
                raise _rate_limited(caller, demand, "requests", requests, len(window.calls), 1, wait, {})
            if window.tokens + demand.needed_tokens > tokens:
                impossible = demand.needed_tokens > tokens
                raise _rate_limited(
                    caller,
                    demand,
                    "tokens",
                    tokens,
                    window.tokens,
                    demand.needed_tokens,
                    None if impossible else wait,
                    {},
                )
            concurrent = scope.limits.concurrent_requests
            if concurrent is not None and window.running >= concurrent:
                raise _rate_limited(caller, demand, "concurrency", concurrent, window.running, 1, 1.0, {})
            left += [requests - len(window.calls) - 1, tokens - window.tokens - demand.needed_tokens]
        for scope in caller.scopes:
            window = self._local[scope.kind, scope.id]
            window.calls.append((now, demand.needed_tokens))
            window.tokens += demand.needed_tokens
            window.running += 1
        headers = _headers(caller.scopes, left, reset_ms=WINDOW_SECONDS * 1000)
        return Admission(identifier, caller.organization_id, caller.scopes, period, headers, hold="", is_local=True)

    def _settle_locally(self, admission: Admission) -> None:
        for scope in admission.scopes:
            window = self._local.get((scope.kind, scope.id))
            if window is not None:
                window.running = max(0, window.running - 1)

    # A budget that Redis does not know yet ------------------------------------------------------------------------

    async def _seed(self, caller: Caller, scope: Scope, period: str) -> None:
        key = _budget_key(caller.organization_id, scope, period)
        task = self._seeding.get(key)
        if task is None:
            task = asyncio.ensure_future(self._seed_alone(caller, scope, period))
            self._seeding[key] = task
            task.add_done_callback(lambda _done: self._seeding.pop(key, None))
        await asyncio.shield(task)

    async def _seed_alone(self, caller: Caller, scope: Scope, period: str) -> None:
        deadline = time.monotonic() + 3
        try:
            while not await in_thread(lambda: seed_budget(caller, scope, period)):
                if time.monotonic() > deadline:
                    raise BudgetUnknownError("Your budget is being counted. Try again.", wait_seconds=2)
                await asyncio.sleep(0.05)
        except DatabaseAwayError:
            raise BudgetUnknownError("Your budget cannot be checked at the moment.", wait_seconds=2) from None


def settlement(admission: Admission, event: Event) -> Settlement:
    """How to settle `admission` with `event`."""
    return _settlement(
        admission.organization_id,
        [(scope.kind, scope.id) for scope in admission.scopes],
        admission.period,
        id=admission.id,
        cost=event.cost_nano,
        tokens=event.prompt_tokens + event.completion_tokens,
        event=event.encode().decode(),
        second=admission.hold.partition("|")[0] or "0",
    )


def release(caller: Caller, identifier: str, period: str) -> Settlement:
    """How to undo an admission that nobody knows of: nothing used, no event."""
    scopes = [(scope.kind, scope.id) for scope in caller.scopes]
    return _nothing_used(caller.organization_id, scopes, period, identifier)


def _nothing_used(organization_id: str, scopes: list[tuple[str, str]], period: str, identifier: str) -> Settlement:
    return _settlement(organization_id, scopes, period, id=identifier, cost=0, tokens=0, event="")


def settle_now(what: Settlement) -> None:
    """Settle on the synchronous client: for replaying the spool. Raises RedisError when Redis is away."""
    SETTLE.run(servers.durable(), keys=what.keys, args=what.args)


def reap() -> int:
    """Settle every call whose lease has ended, as far as it is known to have come, and tell how many there were."""
    client = servers.durable()
    reaped = 0
    seconds, microseconds = cast("tuple[int, int]", client.time())
    # Not only when a budget is first needed: it would be closed for so much longer.
    client.set(SINCE, seconds, nx=True)
    now = seconds * 1000 + microseconds // 1000
    for organization_id in client.sscan_iter(ORGANIZATIONS):
        base = f"ly:{{{organization_id}}}:"
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
    tail = orjson.loads(hold.split("|", 4)[4])
    event = Event.decode(tail["event"])
    return _settlement(
        organization_id,
        [(kind, name) for kind, name in tail["scopes"]],
        tail["period"],
        id=identifier,
        cost=event.cost_nano,
        tokens=event.prompt_tokens + event.completion_tokens,
        event=tail["event"],
        only_if_ended=True,
    )


def seed_budget(caller: Caller, scope: Scope, period: str) -> bool:
    """Fill a month's budget in Redis from the ledger. False when it is not done yet: ask again in a moment.

    Raises BudgetUnknownError when Redis lost its data a moment ago, and running calls have not said yet what they hold.
    """
    # An event that reached the ledger in between would be counted by its settlement, and with the sums once more.
    with paused(shared=True):
        return _seed_budget(caller, scope, period)


def _seed_budget(caller: Caller, scope: Scope, period: str) -> bool:
    client = servers.durable()
    key = _budget_key(caller.organization_id, scope, period)
    arguments = [str(SEED_MS), str(CLOSED_MS), str(BUDGET_KEPT_DAYS)]
    answer = SEED_BEGIN.run(client, keys=[SINCE, key, STREAM], args=arguments)
    if answer[0] == "closed":
        raise BudgetUnknownError("Your budget is being counted. Try again.", wait_seconds=int(answer[1]) / 1000)
    if answer[0] != "begun":
        return bool(answer[0] == "ready")
    token, last = answer[1], answer[2]
    waiting = waiting_events(last, _belonging_to(scope, period))
    spent = _spent(caller, scope, period) + sum(event.cost_nano for event in waiting)
    return bool(SEED_END.run(client, keys=[key], args=[token, str(spent)]))


def _spent(caller: Caller, scope: Scope, period: str) -> int:
    start = datetime.strptime(period, "%Y%m").replace(tzinfo=UTC)
    rows = UsageRollup15Min.objects.filter(_of_scope(scope), bucket_at__gte=start, bucket_at__lt=next_month(start))
    if scope.kind == "key":
        # A key is of one project, and the sums are found by project.
        rows = rows.filter(project_id=caller.project_id)
    return int(rows.aggregate(sum=Sum("cost_nano"))["sum"] or 0)


def _of_scope(scope: Scope) -> Q:
    """Which sums of usage count against a scope."""
    if scope.kind != PARTICIPANT:
        return Q(**{f"{scope.kind}_id": scope.id})
    project_id, user_id, key_ids = _participant(scope)
    return Q(project_id=project_id) & (Q(user_id=user_id) | Q(key_id__in=key_ids))


def _participant(scope: Scope) -> tuple[str, str, frozenset[str]]:
    """The project and the person of a participant's scope, and all keys that person ever made there."""
    project_id, _dot, user_id = scope.id.partition(".")
    keys = ApiKey.objects.made_by([user_id]).filter(project__public_id=project_id)
    return project_id, user_id, frozenset(keys.values_list("public_id", flat=True))


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
                yield Event.decode(fields["e"])
            except (PoisonError, KeyError):
                continue
        if len(entries) < READ_AT_ONCE:
            return
        first = f"({entries[-1][0]}"


def _belonging_to(scope: Scope, period: str) -> Callable[[Event], bool]:
    """Whether an event counts against a scope in a month."""
    if scope.kind != PARTICIPANT:
        return lambda event: getattr(event, f"{scope.kind}_id") == scope.id and month_of(event.at) == period
    project_id, user_id, key_ids = _participant(scope)
    return lambda event: (
        event.project_id == project_id
        and (event.user_id == user_id or event.key_id in key_ids)
        and month_of(event.at) == period
    )


def month_of(moment: datetime) -> str:
    """The month whose budgets a moment belongs to, as it stands in keys: `202603`."""
    return f"{moment.year}{moment.month:02}"


def _admit_arguments(
    caller: Caller, demand: Demand, identifier: str, period: str, lost: Event
) -> tuple[list[str], list[str]]:
    base = f"ly:{{{caller.organization_id}}}:"
    keys = [f"{base}leases", f"{base}holds", ORGANIZATIONS]
    args = [
        identifier,
        str(LEASE_MS),
        str(demand.most_nano),
        str(demand.needed_tokens),
        str(max(demand.wanted_tokens, demand.needed_tokens)),
        _hold_tail(caller.scopes, period, lost),
        caller.organization_id,
    ]
    for scope in caller.scopes:
        keys += _scope_keys(base, scope.kind, scope.id, period)
        requests, tokens = _rates(scope)
        args += [
            str(requests),
            str(tokens),
            _text(scope.limits.concurrent_requests),
            _text(scope.limits.monthly_budget_nano),
        ]
    return keys, args


def _settlement(
    organization_id: str,
    scopes: list[tuple[str, str]],
    period: str,
    *,
    id: str,  # noqa: A002
    cost: int,
    tokens: int,
    event: str,
    second: str = "",
    only_if_ended: bool = False,
) -> Settlement:
    base = f"ly:{{{organization_id}}}:"
    keys = [f"{base}leases", f"{base}holds", STREAM]
    for kind, name in scopes:
        keys += _scope_keys(base, kind, name, period)
    return Settlement(tuple(keys), (id, str(cost), str(tokens), event, "1" if only_if_ended else "", second))


def _scope_keys(base: str, kind: str, name: str, period: str) -> list[str]:
    scope = f"{base}{kind}:{name}:"
    return [f"{scope}window", f"{scope}running", f"{scope}spent:{period}"]


def _budget_key(organization_id: str, scope: Scope, period: str) -> str:
    return _scope_keys(f"ly:{{{organization_id}}}:", scope.kind, scope.id, period)[2]


def _hold_tail(scopes: tuple[Scope, ...], period: str, lost: Event) -> str:
    """What the reaper needs to settle a hold without its process."""
    tail = {
        "scopes": [(scope.kind, scope.id) for scope in scopes],
        "period": period,
        "event": lost.encode().decode(),
    }
    return orjson.dumps(tail).decode()


def _rates(scope: Scope) -> tuple[int, int]:
    requests, tokens = scope.limits.requests_per_minute, scope.limits.tokens_per_minute
    if requests is None or tokens is None:
        raise ValueError("A scope of a caller has rates: `policies.with_ceiling` sees to it.")
    return requests, tokens


def _text(limit: int | None) -> str:
    return "" if limit is None else str(limit)


def _headers(scopes: tuple[Scope, ...], left: list[int], *, reset_ms: int) -> dict[str, str]:
    """OpenAI's rate limit headers, for the scope that has least left of each kind."""
    requests_left, requests = min((left[2 * i], _rates(scope)[0]) for i, scope in enumerate(scopes))
    tokens_left, tokens = min((left[2 * i + 1], _rates(scope)[1]) for i, scope in enumerate(scopes))
    return {
        "x-ratelimit-limit-requests": str(requests),
        "x-ratelimit-limit-tokens": str(tokens),
        "x-ratelimit-remaining-requests": str(requests_left),
        "x-ratelimit-remaining-tokens": str(tokens_left),
        "x-ratelimit-reset-requests": duration(reset_ms if requests_left < requests else 0),
        "x-ratelimit-reset-tokens": duration(reset_ms if tokens_left < tokens else 0),
    }


def duration(milliseconds: int) -> str:
    """A span of time as Go writes it, which is what OpenAI's headers hold: `12ms`, `8.64s`, `6m0s`."""
    if milliseconds == 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _refusal(caller: Caller, demand: Demand, reply: list[str], headers: dict[str, str]) -> ApiError:
    kind, (scope_number, limit, used, wait_ms) = reply[0], (int(number) for number in reply[2:6])
    if kind == "seed":
        return BudgetUnknownError("Your budget is being counted. Try again.", wait_seconds=2)
    if kind == "budget":
        scope = caller.scopes[scope_number - 1]
        is_used_up = used >= limit
        figures = f"limit {display_dollars(limit)}, used or reserved {display_dollars(used)}"
        if not is_used_up:
            figures += f", and this call could cost {display_dollars(demand.most_nano)}"
        error = _budget_error(caller, scope, figures, is_used_up=is_used_up)
        error.headers.update(headers)
        return error
    requested = demand.needed_tokens if kind == "tokens" else 1
    wait = wait_ms / 1000 if wait_ms >= 0 else None
    return _rate_limited(caller, demand, kind, limit, used, requested, wait, headers)


def _budget_error(caller: Caller, scope: Scope, figures: str, *, is_used_up: bool) -> BudgetError:
    renews_at = next_month(datetime.now(UTC))
    fault = f"is used up: {figures}." if is_used_up else f"does not cover this call: {figures}. Ask for fewer tokens."
    if scope.kind != PARTICIPANT:
        return BudgetError(
            f"The monthly budget of this {scope.kind} {fault} The budget starts anew on {renews_at:%Y-%m-%d} (UTC)."
        )
    when = f"It starts anew on {renews_at:%Y-%m-%d} (UTC)."
    if caller.valid_until is not None and caller.valid_until <= renews_at.timestamp():
        ends_at = datetime.fromtimestamp(caller.valid_until, UTC)
        when = f"It does not start anew before this key stops, on {ends_at:%Y-%m-%d %H:%M} (UTC)."
    return AllowanceError(
        f"Your monthly allowance in the cohort “{scope.name}”, for all your keys and playground runs there together, "
        f"{fault} {when} Its organizers can raise it."
    )


UNITS = {
    "requests": "requests per min (RPM)",
    "tokens": "tokens per min (TPM)",
    "concurrency": "requests at the same time",
}


def _rate_limited(
    caller: Caller,
    demand: Demand,
    kind: str,
    limit: int,
    used: int,
    requested: int,
    wait_seconds: float | None,
    headers: dict[str, str],
) -> RateLimitError:
    where = f"for {demand.model} in organization {caller.organization_id} on {UNITS[kind]}"
    if wait_seconds is None:
        text = f"Request too large {where}: Limit {limit}, Requested {requested}. Ask for fewer tokens."
    else:
        pause = duration(max(1, math.ceil(wait_seconds * 1000)))
        figures = f"Limit {limit}, Used {used}, Requested {requested}"
        text = f"Rate limit reached {where}: {figures}. Please try again in {pause}."
    error = RateLimitError(text, kind="tokens" if kind == "tokens" else "requests", wait_seconds=wait_seconds)
    error.headers.update(headers)
    return error

"""Who is calling and what they may use: from a key's digest, or for a person's run in the playground.

A policy is looked for in this process, then in Redis, then in PostgreSQL. A changed key is announced on a channel that
every process listens to; while a process cannot listen it trusts what it holds for half a second only. When PostgreSQL
is away, the last policy known of a key goes on being used: nobody can have revoked it meanwhile.
"""

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import redis.asyncio
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from accounts.models import Project, User
from apikeys.models import ApiKey
from common import redis as servers
from common.errors import OverloadedError
from common.upkeep import keep_running
from usage.link import LinkDownError, RedisLink
from usage.models import Source
from usage.scripts import REMEMBER_POLICY
from usage.threads import DatabaseAwayError, in_thread

log = structlog.get_logger(__name__)

CHANNEL = "ly:policy:changed"
# How long a policy is used without asking further: in a process that hears of changes, in one that does not, in Redis.
HEARING_SECONDS = 10.0
DEAF_SECONDS = 0.5
REDIS_FRESH_SECONDS = 60.0
REDIS_KEPT_SECONDS = 24 * 3600
# A change leaves this mark instead of the policy, so that a slow reader cannot put the old one back.
CHANGED = ""
CHANGED_SECONDS = 10
MOST_HELD = 50_000
UNKNOWN_SECONDS = 2.0
PING_SECONDS = 0.4
LISTEN_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """What one scope may use. None means that the scope sets no limit of that kind."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    monthly_budget_nano: int | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Something with limits that a call counts against: today a key or a person, tomorrow a project as well."""

    kind: str
    id: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call. All identifiers are public ones; `key_id` is empty for a person, `user_id` for a key."""

    source: str
    organization_id: str
    project_id: str
    key_id: str
    user_id: str
    scopes: tuple[Scope, ...]

    @property
    def has_budget(self) -> bool:
        return any(scope.limits.monthly_budget_nano is not None for scope in self.scopes)


@dataclass(slots=True)
class _Held:
    caller: Caller | None
    since: float


def caller_for_run(user: User, project: Project) -> Caller:
    """The caller of a playground run of `user` in `project`, held to what the installation allows anyone."""
    return Caller(
        source=Source.PLAYGROUND,
        organization_id=project.organization.public_id,
        project_id=project.public_id,
        key_id="",
        user_id=user.public_id,
        scopes=(with_ceiling("user", user.public_id, Limits()),),
    )


def with_ceiling(kind: str, identifier: str, limits: Limits) -> Scope:
    """A scope whose rates are bounded by the installation's ceiling, so that each has a number to tell clients."""
    requests, tokens = settings.GATEWAY_CEILING_REQUESTS_PER_MINUTE, settings.GATEWAY_CEILING_TOKENS_PER_MINUTE
    return Scope(
        kind=kind,
        id=identifier,
        limits=Limits(
            requests_per_minute=min(limits.requests_per_minute or requests, requests),
            tokens_per_minute=min(limits.tokens_per_minute or tokens, tokens),
            concurrent_requests=limits.concurrent_requests,
            monthly_budget_nano=limits.monthly_budget_nano,
        ),
    )


def load(digest: str) -> Caller | None:
    """The caller behind a key's digest as PostgreSQL has it; None when no usable key has it."""
    key = ApiKey.objects.usable().select_related("project__organization").filter(digest=digest).first()
    if key is None:
        return None
    limits = Limits(
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        concurrent_requests=key.concurrent_requests,
        monthly_budget_nano=key.monthly_budget_nano,
    )
    return Caller(
        source=Source.KEY,
        organization_id=key.project.organization.public_id,
        project_id=key.project.public_id,
        key_id=key.public_id,
        user_id="",
        scopes=(with_ceiling("key", key.public_id, limits),),
    )


def forget(digest: str) -> None:
    """Make every process ask PostgreSQL about a key again, now."""
    pipeline = servers.durable().pipeline(transaction=False)
    pipeline.set(redis_key(digest), CHANGED, ex=CHANGED_SECONDS)
    pipeline.publish(CHANNEL, digest)
    pipeline.execute()


def redis_key(digest: str) -> str:
    return f"ly:policy:{digest}"


class Policies:
    """The policies that one event loop holds."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._digests: dict[str, str] = {}
        self._changes = 0
        self._is_hearing = False
        # Of what Redis keeps, only what was put there since this process listens can be trusted: what changed before,
        # with Redis away, nobody could mark there. In seconds since the epoch; never while it does not listen.
        self._trusts_since = math.inf
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen for changed keys."""
        self._listener = keep_running(self._listen, name="policies")

    async def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    async def find(self, digests: list[str]) -> Caller | None:
        """The caller behind the first of `digests` that is a usable key; None when none is.

        Raises OverloadedError when the key is not known here and nothing that would know it answers.
        """
        for digest in digests:
            caller = await self._find(digest)
            if caller is not None:
                return caller
        return None

    async def is_usable(self, key_id: str) -> bool:
        """Whether a key that a call began with may still be used; True while nothing can tell."""
        digest = self._digests.get(key_id)
        if digest is None:
            return True
        try:
            return await self._find(digest) is not None
        except OverloadedError:
            return True

    async def _find(self, digest: str) -> Caller | None:
        held = self._held.get(digest)
        if held is not None:
            longest = HEARING_SECONDS if self._is_hearing and self._link.is_up else DEAF_SECONDS
            if held.caller is None:
                longest = min(longest, UNKNOWN_SECONDS)
            if time.monotonic() - held.since < longest:
                return held.caller
        return await self._look_up(digest, held)

    async def _look_up(self, digest: str, held: _Held | None) -> Caller | None:
        changes = self._changes
        stored = await self._from_redis(digest)
        trusted_age = min(REDIS_FRESH_SECONDS, time.time() - self._trusts_since)
        if stored is not None and stored[1] < trusted_age:
            caller: Caller | None = stored[0]
        else:
            try:
                caller = await in_thread(lambda: load(digest))
            except DatabaseAwayError:
                known = stored[0] if stored is not None else (held.caller if held is not None else None)
                if known is None:
                    log.warning("policy_unavailable")
                    raise OverloadedError("The portal cannot check your key at the moment.", wait_seconds=2) from None
                caller = known
            else:
                self._to_redis(digest, caller)
        if changes == self._changes:
            self._hold(digest, caller)
        return caller

    def _hold(self, digest: str, caller: Caller | None) -> None:
        self._held[digest] = _Held(caller, time.monotonic())
        self._held.move_to_end(digest)
        if caller is not None:
            self._digests[caller.key_id] = digest
        if len(self._held) > MOST_HELD:
            _oldest, dropped = self._held.popitem(last=False)
            if dropped.caller is not None:
                self._digests.pop(dropped.caller.key_id, None)

    async def _from_redis(self, digest: str) -> tuple[Caller, float] | None:
        try:
            text = await self._link.execute("GET", redis_key(digest))
        except (LinkDownError, RedisError):
            return None
        return _decode(text) if text else None

    def _to_redis(self, digest: str, caller: Caller | None) -> None:
        if caller is None:
            return
        # Nobody waits for it: when it fails, the next process asks PostgreSQL as well.
        self._link.run(REMEMBER_POLICY, keys=[redis_key(digest)], args=[_encode(caller), str(REDIS_KEPT_SECONDS)])

    async def _listen(self) -> None:
        client = servers.async_durable(connections=2)
        try:
            while True:
                try:
                    async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
                        await pubsub.subscribe(CHANNEL)
                        self._trusts_since = time.time()
                        # What changed while this process was deaf was not told to it.
                        self._forget_all()
                        await self._hear(pubsub)
                except (RedisError, OSError) as error:
                    log.warning("policies_deaf", error=type(error).__name__)
                finally:
                    self._is_hearing = False
                    self._trusts_since = math.inf
                await asyncio.sleep(LISTEN_AGAIN_SECONDS)
        finally:
            await client.aclose()

    async def _hear(self, pubsub: "redis.asyncio.client.PubSub") -> None:
        is_asked = False
        while True:
            message = await pubsub.get_message(timeout=PING_SECONDS)
            if message is None:
                # Silence proves nothing: a ping without an answer means that this process is deaf.
                self._is_hearing = not is_asked
                await pubsub.ping()
                is_asked = True
                continue
            is_asked = False
            self._is_hearing = True
            if message["type"] == "message":
                self._changes += 1
                self._held.pop(message["data"], None)

    def _forget_all(self) -> None:
        """Have every policy confirmed before its next use; it stays at hand for when nothing can confirm it."""
        self._changes += 1
        for held in self._held.values():
            held.since = float("-inf")


def _encode(caller: Caller) -> str:
    return orjson.dumps({"at": time.time(), "caller": asdict(caller)}).decode()


def _decode(text: str) -> tuple[Caller, float] | None:
    """The caller and how many seconds ago it was read; None for what another version of this program wrote."""
    try:
        stored: dict[str, Any] = orjson.loads(text)
        fields = stored["caller"]
        scopes = tuple(
            Scope(kind=scope["kind"], id=scope["id"], limits=Limits(**scope["limits"]))
            for scope in fields.pop("scopes")
        )
        return Caller(**fields, scopes=scopes), time.time() - stored["at"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None

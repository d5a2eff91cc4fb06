"""Who is calling and what they may use: from a key's digest, or for a person's run in the playground.

A policy is looked for in this process, then in Redis, then in PostgreSQL. It holds all that a key may do, so that a
call whose policy is at hand is judged without asking anything. A change of the key, or of what it rests on, is
announced on a channel that every process listens to; while a process cannot listen it trusts what it holds for half a
second only. When PostgreSQL is away, the last policy known of a key goes on being used: nobody can have revoked it
meanwhile.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Self

import orjson
import redis.asyncio
import structlog
from django.conf import settings
from django.db.models import Q
from redis.exceptions import RedisError

from accounts.models import Cohort, Membership, Organization, Plan, Project, User
from accounts.roles import Role
from accounts.services import has_accepted_terms, owners_have_accepted_terms
from apikeys.models import ApiKey, KeyKind, KeyPolicy, KeySecret
from common import redis as servers
from common.errors import OverloadedError
from common.limits import NO_LIMITS, Limited, Limits
from common.networks import contains
from common.upkeep import keep_running, stop
from usage.link import LinkDownError, RedisLink
from usage.models import CreditGrant, Source
from usage.scripts import REMEMBER_POLICY
from usage.threads import DatabaseAwayError, in_thread

log = structlog.get_logger(__name__)

CHANNEL = "ly:policy:changed"
# What a call counts against. The ids of a participant of a cohort and of a member are `<project id>.<user id>` and
# `<organization id>.<user id>`: all their keys there and their playground runs together.
KEY = "key"
USER = "user"
PARTICIPANT = "participant"
MEMBER = "member"
PROJECT = "project"
# The whole organization, by what its plan allows; its id is that of the organization.
PLAN = "plan"
ORGANIZATION = "organization"
MODEL = "model"
# No limit, but what pays before an organization's budgets do. The scripts in `usage/lua/` know it by this name.
CREDIT = "credit"
# How long a policy is used without asking further: in a process that hears of changes, in one that does not, in Redis.
HEARING_SECONDS = 10.0
DEAF_SECONDS = 0.5
REDIS_FRESH_SECONDS = 60.0
REDIS_KEPT_SECONDS = 24 * 3600
# A change leaves this mark instead of the policy, so that a slow reader cannot put the old one back.
CHANGED = ""
CHANGED_SECONDS = 10
FORGOTTEN_AT_ONCE = 1000
MOST_HELD = 50_000
UNKNOWN_SECONDS = 2.0
PING_SECONDS = 0.4
LISTEN_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Scope:
    """Something with limits that a call counts against, of one of the kinds above.

    `name` is what people call it, where they do.
    """

    kind: str
    id: str
    limits: Limits
    name: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """Credits that calls can draw on, in whole seconds from `start` to `end`."""

    id: str
    amount_nano: int
    start: int
    end: int

    @classmethod
    def of(cls, grant: CreditGrant) -> Self:
        """A grant of the ledger, as calls know it."""
        end = NEVER if grant.expires_at is None else int(grant.expires_at.timestamp())
        return cls(grant.public_id, grant.amount_nano, int(grant.at.timestamp()), end)


# The end of a grant that does not expire: when the calendar of Python ends.
NEVER = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call. All identifiers are public ones; `key_id` is empty for a person, `user_id` for a key."""

    source: str
    organization_id: str
    project_id: str
    key_id: str
    user_id: str
    scopes: tuple[Scope, ...]
    # Of the organization, in which its days begin.
    zone: str = "UTC"
    # Of the secret that was presented; empty for a person.
    digest: str = field(default="", repr=False)
    secret_id: str = ""
    # When the first of what the key rests on ends, in seconds since 1970. Compared at each call: no cache outlives it.
    valid_until: float | None = None
    # A model has to be in both lists, which name those of the key and those of the organization's plan. Empty: all.
    models: tuple[str, ...] = ()
    plan_models: tuple[str, ...] = ()
    # What the plan has of its own, by model: for a million input tokens and for a million output tokens.
    prices: dict[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    endpoints: tuple[str, ...] = ()
    # An address has to be in both lists. Empty: any.
    key_networks: tuple[str, ...] = ()
    organization_networks: tuple[str, ...] = ()
    owes_terms: bool = False
    # The one that ends first before the others.
    grants: tuple[Grant, ...] = ()
    # Whether the organization was ever granted credits, for who is told that its budget is used up.
    knows_credits: bool = False

    @property
    def has_budget(self) -> bool:
        return any(scope.limits.has_budget for scope in self.scopes)

    @property
    def has_ended(self) -> bool:
        return self.valid_until is not None and time.time() >= self.valid_until

    def may_use_model(self, name: str) -> bool:
        return (not self.models or name in self.models) and (not self.plan_models or name in self.plan_models)

    def may_use_endpoint(self, path: str) -> bool:
        return not self.endpoints or path in self.endpoints

    def organization_allows(self, address: str) -> bool:
        return not self.organization_networks or contains(self.organization_networks, address)

    def key_allows(self, address: str) -> bool:
        return not self.key_networks or contains(self.key_networks, address)


@dataclass(slots=True)
class _Held:
    caller: Caller | None
    since: float


def caller_for_run(user: User, project: Project) -> Caller:
    """The caller of a playground run of `user` in `project`, held to what the installation allows anyone."""
    plan_models, prices = _of_plan(project.organization.plan)
    return Caller(
        source=Source.PLAYGROUND,
        organization_id=project.organization.public_id,
        project_id=project.public_id,
        key_id="",
        user_id=user.public_id,
        scopes=(
            with_ceiling(USER, user.public_id, Limits()),
            *_allowance(user, project),
            *_shared(project, user),
        ),
        zone=project.organization.time_zone,
        plan_models=plan_models,
        prices=prices,
        **_credits_of(project.organization),
    )


def with_ceiling(kind: str, identifier: str, limits: Limits, *, name: str = "") -> Scope:
    """A scope whose rates are bounded by the installation's ceiling, so that each has a number to tell clients."""
    requests, tokens = settings.GATEWAY_CEILING_REQUESTS_PER_MINUTE, settings.GATEWAY_CEILING_TOKENS_PER_MINUTE
    return Scope(
        kind=kind,
        id=identifier,
        limits=replace(
            limits,
            requests_per_minute=min(limits.requests_per_minute or requests, requests),
            tokens_per_minute=min(limits.tokens_per_minute or tokens, tokens),
        ),
        name=name,
    )


def _allowance(user: User, project: Project) -> tuple[Scope, ...]:
    """What a cohort allows each participant, over all their keys and runs in it; nothing where there is none."""
    cohort = Cohort.objects.allowance_of(user, project)
    if cohort is None:
        return ()
    return (with_ceiling(PARTICIPANT, f"{project.public_id}.{user.public_id}", cohort.limits, name=project.name),)


def _shared(project: Project, person: User | None) -> list[Scope]:
    """What a call counts against beside its key: what its `person` may use, its project, its organization and the plan
    of that.

    What has no limits, as most do not, is left out and costs a call nothing.
    """
    organization = project.organization
    scopes = [
        Scope(PROJECT, project.public_id, project.limits, project.name),
        Scope(ORGANIZATION, organization.public_id, organization.limits, organization.name),
    ]
    if organization.plan is not None:
        scopes.append(Scope(PLAN, organization.public_id, organization.plan.limits, organization.plan.name))
    if person is not None:
        for member in Membership.objects.filter(organization=organization, user=person):
            scopes.insert(0, Scope(MEMBER, f"{organization.public_id}.{person.public_id}", member.limits))
    return [scope for scope in scopes if scope.limits != NO_LIMITS]


def _of_plan(plan: Plan | None) -> tuple[tuple[str, ...], dict[str, tuple[int, int]]]:
    """The models that a plan is for, and its own prices."""
    if plan is None:
        return (), {}
    return tuple(plan.allowed_models), {model: (prices[0], prices[1]) for model, prices in plan.prices.items()}


def load(digest: str) -> Caller | None:
    """The caller behind a secret's digest as PostgreSQL has it; None when no key that may make calls has it.

    One whose time has ended is still a caller: it can be told so.
    """
    return _caller_with(KeySecret.objects.for_calls().filter(digest=digest).first())


def caller_for_batch(key_id: str) -> Caller | None:
    """The caller of a batch that a key made; None when no such key may make calls, whichever of its secrets made it."""
    caller = _caller_with(KeySecret.objects.for_calls().filter(key__public_id=key_id, valid_until=None).first())
    # Nobody presents a secret: it is not said to be in use.
    return caller and replace(caller, source=Source.BATCH, digest="", secret_id="")


def _caller_with(secret: KeySecret | None) -> Caller | None:
    if secret is None or secret.key.project is None or not secret.key.goes_on:
        return None
    key, project = secret.key, secret.key.project
    organization = project.organization
    # Whose calls they are; those of a program are nobody's.
    person = key.created_by if key.kind == KeyKind.PROJECT else None
    scopes = [with_ceiling(KEY, key.public_id, key.limits)]
    if person is not None:
        scopes += _allowance(person, project)
    scopes += _shared(project, person)
    plan_models, prices = _of_plan(organization.plan)
    return Caller(
        source=Source.KEY,
        organization_id=organization.public_id,
        project_id=project.public_id,
        key_id=key.public_id,
        user_id="",
        scopes=tuple(scopes),
        zone=organization.time_zone,
        digest=secret.digest,
        secret_id=secret.public_id,
        valid_until=_earliest(key.expires_at, secret.valid_until, project.ends_at),
        models=tuple(key.allowed_models),
        plan_models=plan_models,
        prices=prices,
        endpoints=tuple(key.allowed_endpoints),
        key_networks=tuple(key.allowed_networks),
        organization_networks=tuple(_policy_networks(organization)),
        owes_terms=_owes_terms(key),
        **_credits_of(organization),
    )


def _credits_of(organization: Organization) -> dict[str, Any]:
    grants = list(CreditGrant.objects.of(organization))
    return {
        "grants": tuple(Grant.of(grant) for grant in grants if grant.left_nano),
        "knows_credits": bool(grants),
    }


def _policy_networks(organization: Organization) -> list[str]:
    policy: KeyPolicy | None = getattr(organization, "key_policy", None)
    return policy.allowed_networks if policy is not None else []


def _earliest(*moments: datetime | None) -> float | None:
    return min((moment.timestamp() for moment in moments if moment is not None), default=None)


def _owes_terms(key: ApiKey) -> bool:
    """Whether the terms of use are yet to be accepted: by who made the key, or for a program by an owner."""
    if key.project is not None and key.kind == KeyKind.SERVICE:
        return not owners_have_accepted_terms(key.project.organization)
    return key.created_by is not None and not has_accepted_terms(key.created_by)


def forget(digests: Sequence[str]) -> None:
    """Make every process ask PostgreSQL about secrets again, now."""
    for start in range(0, len(digests), FORGOTTEN_AT_ONCE):
        some = digests[start : start + FORGOTTEN_AT_ONCE]
        pipeline = servers.durable().pipeline(transaction=False)
        for digest in some:
            pipeline.set(redis_key(digest), CHANGED, ex=CHANGED_SECONDS)
        pipeline.publish(CHANNEL, " ".join(some))
        pipeline.execute()


def forget_keys_of(user: User) -> None:
    """Make every process ask again about the keys that wait for what this user does."""
    owned = user.memberships.filter(role=Role.OWNER).values("organization")
    secrets = KeySecret.objects.filter(Q(key__created_by=user) | Q(key__project__organization__in=owned))
    forget(list(secrets.values_list("digest", flat=True)))


def forget_held_to(limited: Limited) -> None:
    """Make every process ask again about the keys whose calls count against a row of limits.

    Those of a key and of a cohort are told of by who changes them, and a model's with the rest of the catalog.
    """
    secrets = KeySecret.objects.all()
    match limited:
        case Organization():
            secrets = secrets.filter(key__project__organization=limited)
        case Plan():
            secrets = secrets.filter(key__project__organization__plan=limited)
        case Project():
            secrets = secrets.filter(key__project=limited)
        case Membership():
            secrets = secrets.filter(key__project__organization=limited.organization, key__created_by=limited.user)
        case _:
            return
    forget(list(secrets.values_list("digest", flat=True)))


def redis_key(digest: str) -> str:
    return f"ly:policy:{digest}"


class Policies:
    """The policies that one event loop holds."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Caller | None]] = {}
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
            await stop(self._listener)

    async def find(self, digests: list[str]) -> Caller | None:
        """The caller behind the first of `digests` that is a usable key; None when none is.

        Raises OverloadedError when the key is not known here and nothing that would know it answers.
        """
        for digest in digests:
            caller = await self._find(digest)
            if caller is not None:
                return caller
        return None

    async def is_usable(self, digest: str) -> bool:
        """Whether a secret that a call began with may still be used; True while nothing can tell."""
        try:
            caller = await self._find(digest)
        except OverloadedError:
            return True
        return caller is not None and not caller.has_ended

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
        """Ask once for all the calls that want to know at the same time: a crowd must not queue for the database."""
        asking = self._asking.get(digest)
        if asking is None:
            asking = asyncio.create_task(self._ask(digest, held), name="policy")
            self._asking[digest] = asking
            asking.add_done_callback(lambda done: self._is_answered(digest, done))
        # A client that hangs up leaves the others their answer.
        return await asyncio.shield(asking)

    def _is_answered(self, digest: str, asking: "asyncio.Task[Caller | None]") -> None:
        if self._asking.get(digest) is asking:
            del self._asking[digest]
        if not asking.cancelled():
            # Everybody may have left meanwhile; what was raised has then nobody to tell.
            asking.exception()

    async def _ask(self, digest: str, held: _Held | None) -> Caller | None:
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
        if len(self._held) > MOST_HELD:
            self._held.popitem(last=False)

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
                for digest in message["data"].split():
                    self._held.pop(digest, None)
                    # Whoever asks from now on must not be told what was read before.
                    self._asking.pop(digest, None)

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
            Scope(kind=scope["kind"], id=scope["id"], limits=Limits(**scope["limits"]), name=scope["name"])
            for scope in fields.pop("scopes")
        )
        fields["grants"] = tuple(Grant(**grant) for grant in fields.get("grants", ()))
        fields["prices"] = {model: tuple(prices) for model, prices in fields["prices"].items()}
        for name in ("models", "plan_models", "endpoints", "key_networks", "organization_networks"):
            fields[name] = tuple(fields[name])
        return Caller(**fields, scopes=scopes), time.time() - stored["at"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None

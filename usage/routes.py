"""Which deployment serves a call: the catalog as one event loop holds it, and what that loop has in flight where."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Sequence
from random import expovariate

import redis.asyncio
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from catalog import routing
from catalog.routing import Route, RoutedModel, RoutingTable
from catalog.running import Busy
from catalog.signals import CHANNEL
from common import redis as servers
from common.errors import ModelNotFoundError, OverloadedError, SlotsTakenError
from common.upkeep import keep_running, stop
from usage.breaker import REST_SECONDS, Breaker
from usage.metrics import Place
from usage.threads import DatabaseAwayError, in_thread

log = structlog.get_logger(__name__)

REFRESH_SECONDS = 5.0
RETRY_SECONDS = 1.0
# A name not in the table may have been added a moment ago; no more often than this is that checked.
LOOK_AGAIN_SECONDS = 1.0


class _Place:
    """What this event loop knows of a deployment."""

    __slots__ = ("backend", "breaker", "in_flight", "waiting")

    def __init__(self, rest_seconds: float) -> None:
        self.backend = ""
        self.in_flight = 0
        self.breaker = Breaker(rest_seconds=rest_seconds)
        # By the id of the call, in the order in which they came.
        self.waiting: dict[str, tuple[asyncio.Future[Route], Route]] = {}

    def is_full(self, route: Route) -> bool:
        return route.most_in_flight is not None and self.in_flight >= route.most_in_flight

    def occupy(self, route: Route, call: str) -> None:
        self.backend = route.backend
        self.in_flight += 1
        self.breaker.begin(call)

    def hand_on(self) -> None:
        """Give what is free to those who wait."""
        for call, (future, route) in self.waiting.items():
            if self.is_full(route):
                return
            # A call waits at several places, and may just have been given its slot by another.
            if not future.done():
                self.occupy(route, call)
                future.set_result(route)


class Routes:
    """The routing table of one event loop."""

    def __init__(self, *, rest_seconds: float = REST_SECONDS) -> None:
        self._table: RoutingTable | None = None
        self._loaded_at = float("-inf")
        self._loading = asyncio.Lock()
        self._changed = asyncio.Event()
        self._places: defaultdict[int, _Place] = defaultdict(lambda: _Place(rest_seconds))
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load the table, if PostgreSQL answers, and keep it fresh."""
        await self._refresh()
        self._tasks = [
            keep_running(self._keep_fresh, name="routes"),
            keep_running(self._listen, name="routes-changes"),
        ]

    async def close(self) -> None:
        """Stop keeping the table fresh."""
        await stop(*self._tasks)

    @property
    def models(self) -> list[RoutedModel]:
        """Every model that callers may name."""
        return [model for model in self._known().models.values() if not model.is_retired]

    async def find(self, name: str) -> RoutedModel:
        """The model called `name`, by its own name or another; it may have retired.

        Raises ModelNotFoundError, or OverloadedError while the catalog was never read.
        """
        model = self._table.find(name) if self._table is not None else None
        if model is None and time.monotonic() - self._loaded_at > LOOK_AGAIN_SECONDS:
            await self._refresh()
            model = self._known().find(name)
        if model is None:
            raise ModelNotFoundError(name)
        return model

    def known(self, name: str) -> RoutedModel | None:
        """The model of this name, if it is in the table."""
        return self._known().models.get(name)

    def by_preference(self, model: RoutedModel) -> list[Route]:
        """The model's deployments, best first: healthy ones, those of the first priority, and of these the one with
        least in flight for its weight.

        None is left out: a health check may be wrong, and the last deployment is better than a refusal.
        """
        if len(model.routes) == 1:
            return list(model.routes)

        def rank(route: Route) -> tuple[bool, int, float, float]:
            return (
                route.is_healthy is False,
                route.priority,
                self._places[route.id].in_flight / route.weight,
                # Chance decides between equals, by weight: the least of such numbers is A's with probability
                # weight of A / sum of weights. Otherwise all calls that come one by one would go to the first.
                expovariate(route.weight),
            )

        return sorted(model.routes, key=rank)

    def are_broken(self, routes: Sequence[Route]) -> bool:
        """Whether the breaker of none of them lets calls pass."""
        now = time.monotonic()
        return not any(self._places[route.id].breaker.passes(now) for route in routes)

    def take(self, routes: Sequence[Route], call: str) -> Route | None:
        """The first of `routes` that has a slot free and a breaker that lets calls pass, else the first with a slot,
        with the call in flight there until `leave`. None when no slot is free: then `wait_for_slot` is next."""
        free = [route for route in routes if not self._places[route.id].is_full(route)]
        if not free:
            return None
        route = free[0]
        if len(free) > 1:
            now = time.monotonic()
            route = next((other for other in free if self._places[other.id].breaker.passes(now)), route)
        self._places[route.id].occupy(route, call)
        return route

    async def wait_for_slot(self, routes: Sequence[Route], call: str, *, model: str) -> Route:
        """What `take` gives once a slot of one of `routes` is free. First come, first served.

        Raises SlotsTakenError when none is in time.
        """
        future: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
        for route in routes:
            self._places[route.id].waiting[call] = future, route
        try:
            await asyncio.wait([future], timeout=settings.GATEWAY_SLOT_WAIT_SECONDS)
        except asyncio.CancelledError:
            if future.done():
                self.leave(future.result(), call)
            raise
        finally:
            for route in routes:
                del self._places[route.id].waiting[call]
        if not future.done():
            raise SlotsTakenError(model)
        return future.result()

    def leave(self, route: Route, call: str) -> None:
        """The call is no longer in flight at the deployment."""
        place = self._places[route.id]
        place.in_flight -= 1
        place.breaker.end(call)
        if place.waiting:
            place.hand_on()

    def busy(self) -> list[Busy]:
        """What is to tell of deployments, those among them that have left the table; of most it is nothing."""
        return [
            Busy(deployment, place.backend, place.in_flight, len(place.waiting), int(place.breaker.is_open))
            for deployment, place in self._places.items()
            if place.in_flight or place.waiting or place.breaker.is_open
        ]

    def places(self) -> list[Place]:
        """Each deployment of the table with what is known of it here."""
        if self._table is None:
            return []
        return [
            Place(model.name, route.backend, place.in_flight, len(place.waiting), place.breaker.is_open)
            for model in self._table.models.values()
            for route in model.routes
            if (place := self._places.get(route.id)) is not None
        ]

    def answered(self, route: Route) -> None:
        """The deployment's server does its work."""
        self._places[route.id].breaker.answered()

    def failed(self, route: Route, *, opens: bool) -> None:
        """The deployment's server failed a call; `opens`: as one that takes none."""
        self._places[route.id].breaker.failed(time.monotonic(), opens=opens)

    def _known(self) -> RoutingTable:
        if self._table is None:
            raise OverloadedError("The portal is starting: its list of models is not loaded yet.", wait_seconds=2)
        return self._table

    async def _refresh(self) -> None:
        asked_at = time.monotonic()
        async with self._loading:
            # Whoever waited for another's loading has a table that is fresh enough.
            if self._loaded_at >= asked_at:
                return
            try:
                self._table = await in_thread(routing.load)
                self._loaded_at = time.monotonic()
            except DatabaseAwayError:
                log.warning("routes_not_loaded")

    async def _keep_fresh(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REFRESH_SECONDS if self._table else RETRY_SECONDS)
            self._changed.clear()
            await self._refresh()

    async def _listen(self) -> None:
        client = servers.async_durable(connections=2)
        try:
            while True:
                with contextlib.suppress(RedisError, OSError):
                    await self._hear(client)
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            await client.aclose()

    async def _hear(self, client: "redis.asyncio.Redis") -> None:
        async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(CHANNEL)
            while True:
                if await pubsub.get_message(timeout=REFRESH_SECONDS) is not None:
                    self._changed.set()

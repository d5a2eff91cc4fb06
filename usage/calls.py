"""The metered call, shared by the gateway and the playground: find the model, admit, relay, settle.

Whatever ends a call settles it, once: what ran is charged as far as it is known by then, whoever ended it. One refused
before it began has nothing to settle and is only put on record. The page on errors tells developers the same, and
`tests/gateway/test_charging.py` has a test for each row:

    ended by                       status   tokens                                          estimated
    the answer, complete           200      the server's count                              only if it gave none
    an error status of the server  4xx–5xx  none                                            no
    the time-out, before an answer 504      the prompt and 10 a second, at most 512         yes
    the client, before a server    499      none                                            no
    the client, before a stream    499      the prompt, as estimated                        yes
    the client, before a whole     499      the prompt and 10 a second, at most 512         yes
    the client, mid-stream         499      the server's running count, else what came      unless all had come
    the server, mid-stream         502/504  the same                                        unless all had come
    its key revoked, or a restart  401/503  in a stream the same, before an answer none     unless all had come
    a refusal before it began      4xx–503  none; of each key and minute the first 60       no
    a server nobody can reach      502/504  none                                            no
    no free slot in time           503      none                                            no
    the death of this process      500      as of the last heartbeat, else the prompt       yes
    the same, while it waited      500      none                                            no
"""

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from functools import partial

import orjson
import structlog
from redis.exceptions import RedisError

from catalog import running
from catalog.routing import Route, RoutedModel
from common.errors import (
    ApiError,
    BudgetError,
    ContextTooLongError,
    InvalidRequestError,
    InvalidValueError,
    ModelNotAllowedError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitError,
    RetiredModelError,
    SlotsTakenError,
    UpstreamTimeoutError,
)
from common.ids import new_id
from common.upkeep import keep_running, stop
from inference import forms
from inference.checks import Body
from inference.client import InferenceClient
from inference.counting import TokenCount, fewest_tokens
from inference.endpoints import ENDPOINTS, Endpoint, model_name
from inference.failures import AttemptFailedError
from inference.fields import LLAMA_CPP_FIELDS
from usage import metrics
from usage.admission import HEARTBEAT_SECONDS, Admissions, settle_now
from usage.answers import Answer, Bytes, Frames, begin, begin_bytes, read_whole
from usage.breaker import REST_SECONDS
from usage.call import Call, CallUsage
from usage.events import CLIENT_CLOSED, STREAM
from usage.link import LinkDownError, RedisLink
from usage.policies import Caller
from usage.refusals import Refusals, refused
from usage.routes import Routes
from usage.spool import Spool, replay

log = structlog.get_logger(__name__)

REPLAY_SECONDS = 30.0
# These kinds send their count along with every chunk when asked, so that a call cut short is counted exactly.
KINDS_WITH_CONTINUOUS_USAGE = frozenset({"vllm", "sglang"})
COUNTED_FORM = {"stream_include_usage": "true", "stream_continuous_usage_stats": "true"}
# And this one its own form of it.
KIND_WITH_TIMINGS = "llama.cpp"
# To these an answer of no tokens is one; Ollama writes without end, and others who can say.
KINDS_WITH_ZERO = frozenset({"vllm", "sglang", "llama.cpp", "tgi"})
MOST_ATTEMPTS = 2


class _NobodyTookItError(Exception):
    """No server of a model took a call, so that another model may. `answer` is what the client is told if none does."""

    def __init__(self, answer: ApiError) -> None:
        super().__init__(answer.message)
        self.answer = answer


class MeteredCalls:
    """Makes metered calls on one event loop: `start` it there, `close` it there."""

    def __init__(
        self,
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        replay_seconds: float = REPLAY_SECONDS,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._heartbeat_seconds = heartbeat_seconds
        self._replay_seconds = replay_seconds
        self._rest_seconds = rest_seconds
        self._running: dict[str, Call] = {}
        self._refusals = Refusals()
        self._upkeep: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the connections. With Redis or PostgreSQL away it starts all the same and goes on trying."""
        self.link = RedisLink()
        self._spool = Spool()
        self._admissions = Admissions(self.link, self._spool)
        self.routes = Routes(rest_seconds=self._rest_seconds)
        self._client = await InferenceClient().__aenter__()
        await self.link.start()
        await self.routes.start()
        metrics.watched.add(self._under_way)
        self._upkeep = [
            keep_running(self._extend_leases, name="leases"),
            keep_running(self._empty_spool, name="spool"),
            keep_running(self._say_what_runs, name="running"),
            keep_running(metrics.keep_page, name="metrics"),
        ]

    async def close(self) -> None:
        """Settle what still runs as left by its client, then close the connections."""
        await stop(*self._upkeep)
        for call in list(self._running.values()):
            self.finish(
                call, status=CLIENT_CLOSED, error_code="gateway_stopped", count=call.count_so_far(), is_estimated=True
            )
        # First of these: what Redis does not take goes to the disk.
        await self.link.close()
        await self._admissions.close()
        await self._spool.release()
        metrics.watched.remove(self._under_way)
        await asyncio.to_thread(metrics.write_page)
        await self._client.close()
        await self.routes.close()

    async def open(
        self, *, caller: Caller, endpoint: str, body: Body, request_id: str, comes_again: bool = False
    ) -> Answer:
        """Make a call of `endpoint` (its path below `/v1`) with `body`, and return once its answer has begun.

        Raises an ApiError, which is what the client is to be told. `body` is not changed. Who `comes_again` waits when
        refused for now, and asks anew: such refusals say nothing about the calls of the key and are not put on record.
        """
        entry, started = ENDPOINTS[endpoint], time.perf_counter()
        model: RoutedModel | None = None
        try:
            model = await self.find_model(caller, model_name(body))
            call, routes, payload = await self._admit(caller, entry, model, body, request_id)
        except ApiError as refusal:
            if not (comes_again and _is_for_now(refusal)):
                metrics.count_refusal(model.name if model is not None else "", entry.path, refusal)
                if self._refusals.take(caller):
                    # Nobody waits for it: the answer to a refused call must not take longer for being on record.
                    self.link.execute(
                        "XADD", STREAM, "*", "e", refused(caller, entry, model, body, request_id, started, refusal)
                    )
            raise
        assert call.admission is not None  # noqa: S101 - that is what admitting is
        if call.admission.is_local:
            metrics.WITHOUT_REDIS.inc()
        try:
            return await self._begin(call, body, routes, payload)
        except ApiError as failure:
            error = call.ended_by or failure
            error.headers = {**call.admission.headers, **error.headers}
            if comes_again and _is_for_now(failure) and call.ended_by is None:
                # No server was free for it, so that nothing ran.
                self._running.pop(call.id, None)
                self._admissions.undo(call.admission)
                raise
            self.finish(
                call,
                status=error.status,
                error_code=error.ledger_code,
                count=call.likely_count() if call.was_at_work else TokenCount(),
                is_estimated=call.was_at_work,
            )
            raise error from failure
        except asyncio.CancelledError:
            self.finish(
                call,
                status=CLIENT_CLOSED,
                error_code="client_closed",
                count=call.count_so_far(),
                is_estimated=call.is_sent,
            )
            raise
        except Exception:
            self.finish(call, status=500, error_code="internal_error", count=call.count_so_far(), is_estimated=True)
            raise

    async def find_model(self, caller: Caller, name: str) -> RoutedModel:
        """The model that `caller` means by `name`, its own or another.

        Raises ModelNotAllowedError, RetiredModelError, or what `Routes.find` does.
        """
        try:
            model = await self.routes.find(name)
        except ModelNotFoundError:
            if caller.may_use_model(name):
                raise
            raise ModelNotAllowedError(name) from None
        # By its own name: what an alias stands for may change, and a key is not to follow it.
        if not caller.may_use_model(model.name):
            raise ModelNotAllowedError(name)
        if model.retires_at is not None and model.is_retired:
            day = datetime.fromtimestamp(model.retires_at, UTC)
            raise RetiredModelError(model.name, on=f"{day:%Y-%m-%d}", successor=model.successor)
        return model

    async def _admit(
        self, caller: Caller, entry: Endpoint, model: RoutedModel, body: Body, request_id: str
    ) -> tuple[Call, list[Route], bytes]:
        """The call, where it may go, and what to send there first."""
        entry.check(body)
        if entry.needs not in model.uses:
            raise InvalidRequestError(
                f"The model `{model.name}` does not serve {entry.path}.", code="unsupported_model", param="model"
            )
        if not self._fits(entry, model, body):
            # A server would spend seconds on reading it before it said the same.
            raise ContextTooLongError(limit=model.context_window, requested=None)
        routes = self.routes.by_preference(model)
        if not routes or (model.fallback is not None and self.routes.are_broken(routes)):
            stand_in = self._stand_in(caller, entry, model, body)
            if stand_in is not None:
                # A budget that does not cover the other model is no reason to refuse this one.
                with contextlib.suppress(BudgetError):
                    return await self._admit(caller, entry, stand_in, body, request_id)
            if not routes:
                raise OverloadedError(f"No server offers the model `{model.name}` at the moment.", wait_seconds=5)
        payload = self._payload(body, routes[0], entry, bound=None)
        call = Call(caller=caller, endpoint=entry, model=model, body=body, request_id=request_id, payload=payload)
        call.admission = await self._admissions.admit(caller, call.demand(), id=call.id, lost=call.lost())
        self._running[call.id] = call
        return call, routes, payload

    def _stand_in(self, caller: Caller, entry: Endpoint, model: RoutedModel, body: Body) -> RoutedModel | None:
        """The first of the models that `model` falls back on which can serve the call, and which the caller may use."""
        while model.fallback is not None and (following := self.routes.known(model.fallback)) is not None:
            model = following
            can_serve = model.routes and not model.is_retired and entry.needs in model.uses
            if can_serve and self._fits(entry, model, body) and caller.may_use_model(model.name):
                return model
        return None

    def _fits(self, entry: Endpoint, model: RoutedModel, body: Body) -> bool:
        # What is only counted may be longer than what can be answered.
        return entry.is_free or model.context_window is None or fewest_tokens(body) <= model.context_window

    def secrets_in_use(self) -> set[str]:
        """The digests of the keys whose calls are running."""
        return {call.caller.digest for call in self._running.values() if call.caller.digest}

    def end_calls(self, error: ApiError, *, of: str | None = None) -> None:
        """End the running calls, or those of a secret by its digest: their servers stop, their clients read `error`."""
        for call in list(self._running.values()):
            if of in (None, call.caller.digest):
                call.end(error)

    def finish(self, call: Call, *, status: int, error_code: str, count: TokenCount, is_estimated: bool) -> None:
        """Settle a call, the first time this is called for it."""
        if self._running.pop(call.id, None) is None or call.admission is None:
            return
        event = call.event(status=status, error_code=error_code, count=count, is_estimated=is_estimated)
        metrics.count(event)
        call.usage = CallUsage(
            event.prompt_tokens, event.cached_tokens, event.completion_tokens, event.cost_nano, is_estimated
        )
        call.settled = self._admissions.settle(call.admission, event)

    def _end_stream(self, call: Call, route: Route, status: int, error_code: str) -> None:
        self.routes.leave(route, call.id)
        self.finish(
            call,
            status=status,
            error_code=error_code,
            count=call.count_so_far(),
            is_estimated=call.stream is None or not call.stream.has_final_count,
        )

    def _payload(self, body: Body, route: Route, entry: Endpoint, *, bound: int | None) -> bytes:
        if entry.takes_form:
            counting = entry.is_streamed(body) and route.kind in KINDS_WITH_CONTINUOUS_USAGE
            return forms.encoded(
                {**body, **entry.sets, **(COUNTED_FORM if counting else {}), "model": route.backend_name}
            )
        if route.kind == "llama.cpp":
            body = {name: value for name, value in body.items() if name in LLAMA_CPP_FIELDS}
        sent = {**body, **entry.sets, "model": route.backend_name}
        asked = entry.asked_output_tokens(body)
        limit = bound if asked is None else asked
        if limit == 0 and route.kind not in KINDS_WITH_ZERO:
            limit = 1
        if limit is not None:
            # By one name: OpenAI's servers refuse two, others do not know the newer one and would write without end.
            for name in entry.output_limits:
                sent.pop(name, None)
            sent[entry.limit_at(route.base_url)] = limit
        if entry.stream is not None and entry.stream.is_told_to_count and entry.is_streamed(body):
            options = dict(body.get("stream_options") or {})
            options["include_usage"] = True
            if route.kind in KINDS_WITH_CONTINUOUS_USAGE:
                options["continuous_usage_stats"] = True
            elif route.kind == KIND_WITH_TIMINGS:
                sent["timings_per_token"] = True
            sent["stream_options"] = options
        try:
            return orjson.dumps(sent)
        except TypeError:
            raise InvalidValueError("body", "text that is valid Unicode") from None

    async def _begin(self, call: Call, body: Body, routes: list[Route], payload: bytes) -> Answer:
        """The answer; or the error by which the call was ended while it waited for a slot or for a server's word."""
        try:
            async with asyncio.timeout(None) as call.beginning:
                return await self._answer(call, body, routes, payload)
        except TimeoutError as ended:
            raise call.ended_by or UpstreamTimeoutError() from ended
        finally:
            call.beginning = None

    async def _answer(self, call: Call, body: Body, routes: list[Route], payload: bytes) -> Answer:
        """What the call's model answers or, when no server of it could, the model it falls back on."""
        while True:
            try:
                return await self._relay(call, body, routes, payload)
            except _NobodyTookItError as nobody:
                stand_in = self._stand_in(call.caller, call.endpoint, call.model, body)
                if stand_in is None:
                    raise nobody.answer from nobody
                routes, payload = await self._hand_over(call, body, stand_in, nobody.answer)

    async def _hand_over(
        self, call: Call, body: Body, model: RoutedModel, failure: ApiError
    ) -> tuple[list[Route], bytes]:
        """Make the call one of another model: where it may go, and what to send there first.

        It is admitted anew, for the other model has its own price. Raises `failure` when its limits do not let it.
        """
        assert call.admission is not None  # noqa: S101 - it was admitted for the first model
        routes = self.routes.by_preference(model)
        payload = self._payload(body, routes[0], call.endpoint, bound=None)
        following = call.for_model(model, body, payload)
        # Given back first: a key that may make one call at a time could not make this one besides.
        call.admission = self._admissions.undo(call.admission)
        try:
            admission = await self._admissions.admit(
                call.caller, following.demand(), id=following.id, lost=following.lost()
            )
        except ApiError as refusal:
            raise failure from refusal
        self._running.pop(call.id, None)
        call.become(following, admission)
        self._running[call.id] = call
        return routes, payload

    async def _relay(self, call: Call, body: Body, routes: list[Route], payload: bytes) -> Answer:
        is_bound = call.has_budget and call.most_nano and call.endpoint.output_limits
        bound = call.bound_output if is_bound else None
        # Which server the payload is for; a bound is not in it yet.
        written_for, number = None if bound is not None else routes[0], 1
        while True:
            try:
                route = self.routes.take(routes, call.id)
                if route is None:
                    self._waits(call)
                    route = await self.routes.wait_for_slot(routes, call.id, model=call.model.name)
            except SlotsTakenError as taken:
                raise _NobodyTookItError(taken) from taken
            if route is not written_for:
                payload, written_for = self._payload(body, route, call.endpoint, bound=bound), route
            try:
                answer = await self._attempt(call, route, payload)
            except AttemptFailedError as failure:
                log.warning("attempt_failed", backend=route.backend, status=failure.answer.status, attempt=number)
                if failure.is_servers:
                    self.routes.failed(route, opens=failure.elsewhere)
                else:
                    self.routes.answered(route)
                others = [other for other in routes if other is not route]
                if failure.elsewhere and (number == MOST_ATTEMPTS or not others):
                    raise _NobodyTookItError(failure.answer) from failure
                if number == MOST_ATTEMPTS or not (failure.again or failure.elsewhere):
                    raise failure.answer from failure
                routes = [route] if failure.again else others
                number += 1
            else:
                self.routes.answered(route)
                return answer

    async def _attempt(self, call: Call, route: Route, payload: bytes) -> Answer:
        """Ask one server, where the call is in flight already; it leaves with the end of its answer."""
        call.backend, call.deployment = route.backend, route.backend_name
        call.attempts += 1
        endpoint = call.endpoint
        settle = partial(self._end_stream, call, route)
        is_streaming = False
        began = time.perf_counter()
        try:
            reply = await self._client.post(
                f"{route.base_url}/{endpoint.path}",
                credential=route.credential,
                payload=payload,
                content_type=forms.CONTENT_TYPE if endpoint.takes_form else "application/json",
                timeouts=route.timeouts,
                waits=partial(self._waits, call),
                begins=partial(self._reached, call),
                ends=call.left,
                may_lack=endpoint.path if endpoint.is_optional else "",
            )
            call.reply = reply
            if call.is_streamed and endpoint.stream is not None:
                stream = call.open_stream(endpoint.stream)
                opening = await begin(reply, stream)
                is_streaming = True
                if stream.has_content:
                    call.first_token_at = time.perf_counter()
                return Answer(call, source=Frames(call, stream, opening, settle))
            if not endpoint.results or reply.content_type.startswith(endpoint.other_answers):
                first = await begin_bytes(reply, endpoint.other_answers)
                is_streaming = True
                call.first_token_at = time.perf_counter()
                return Answer(call, source=Bytes(call, reply, first, settle), content_type=reply.content_type)
            answer = await read_whole(reply, call)
        except AttemptFailedError as failure:
            is_late = isinstance(failure.answer, UpstreamTimeoutError) and not failure.elsewhere
            call.was_at_work = call.is_sent and is_late
            call.is_sent = False
            raise
        finally:
            call.upstream_seconds += time.perf_counter() - began
            if not is_streaming:
                call.left()
                self.routes.leave(route, call.id)
        # It is on its way to Redis before the answer is on its way to the client, who need not wait for it.
        self.finish(call, status=200, error_code="", count=answer.count, is_estimated=answer.is_estimated)
        return Answer(call, body=answer.body)

    def _waits(self, call: Call) -> None:
        """Have it on record that no server has the call: if this process dies meanwhile, it costs nothing.

        Of a call that is served at once the record says from the start that a server may have it, for to write that
        down before each would take as long again as to admit it.
        """
        if not call.is_waiting and call.admission is not None:
            call.is_waiting = True
            self._admissions.extend(call.admission, call.lost())

    async def _reached(self, call: Call) -> None:
        """A server is there for the call, and before it has anything of it, that it may is on record.

        Raises OverloadedError for a call that was taken for dead while it waited: it is settled, at nothing.
        """
        if call.is_waiting and call.admission is not None:
            call.is_waiting = False
            written = self._admissions.extend(call.admission, call.lost())
            # Calls go on while Redis is away; it is told as soon as it is back.
            with contextlib.suppress(LinkDownError, RedisError):
                if written is not None and await written == 0:
                    raise OverloadedError("The call was given up while it waited. Try again.", wait_seconds=1)
        call.reached()

    async def _extend_leases(self) -> None:
        """Say of what runs that it does, and how far it is: every so often, and at once when Redis comes back. Leases
        may have ended meanwhile, and whoever settles what is lost must not take these calls for it."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.link.wait_until_down(), self._heartbeat_seconds)
            await self.link.wait_until_up()
            for call in list(self._running.values()):
                if call.admission is not None:
                    self._admissions.extend(call.admission, call.lost())

    def _under_way(self) -> tuple[int, list[metrics.Place]]:
        return len(self._running), self.routes.places()

    async def _say_what_runs(self) -> None:
        """Tell who runs the portal, and who drains a backend, what is under way; also that nothing is."""
        me = new_id("process")
        try:
            while True:
                await asyncio.sleep(running.SAID_EVERY_SECONDS)
                self.link.execute("HSET", running.KEY, me, running.said(self.routes.busy()))
        finally:
            self.link.execute("HDEL", running.KEY, me)

    async def _empty_spool(self) -> None:
        """Settle what waited on the disk: now, each time Redis comes back, and while it is there every so often, for a
        Redis without room refuses settlements and never goes away."""
        while True:
            await self.link.wait_until_up()
            self._admissions.forget_local()
            while self.link.is_up:
                await self._spool.release()
                try:
                    number = await asyncio.to_thread(replay, settle_now)
                    if number:
                        log.info("spool_replayed", settlements=number)
                except (RedisError, OSError) as error:
                    log.warning("spool_not_replayed", error=type(error).__name__)
                    await self._admissions.spool_unwritten()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.link.wait_until_down(), self._replay_seconds)
            await self._admissions.spool_unwritten()


def _is_for_now(refusal: ApiError) -> bool:
    """Whether the same call may be let in a moment later."""
    if isinstance(refusal, BudgetError):
        return refusal.is_reserved
    return isinstance(refusal, (RateLimitError, OverloadedError))

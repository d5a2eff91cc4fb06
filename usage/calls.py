"""The metered call, shared by the gateway and the playground: find the model, admit, relay, settle.

Whatever ends a call settles it, once, with what is known by then. One refused before it began has nothing to settle
and is only put on record:

    ended by                       status   tokens                                          estimated
    the answer, complete           200      the server's count                              only if it gave none
    an error status of the server  4xx–5xx  none                                            no
    the time-out, before an answer 504      the prompt and 512 of the answer, as estimated  yes
    the client, before an answer   499      the prompt, as estimated                        yes
    the client, mid-stream         499      the server's running count, else what came      unless all had come
    the server, mid-stream         502/504  the same                                        unless all had come
    a refusal before it began      4xx–503  none; of each key and minute the first 60       no
    a server nobody can reach      502/504  none                                            no
    the death of this process      500      as of the last heartbeat, else all it reserved  yes
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Self

import orjson
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from catalog.routing import Route, RoutedModel
from common.context import current_origin
from common.errors import (
    ApiError,
    ContextTooLongError,
    InvalidRequestError,
    InvalidValueError,
    ModelNotAllowedError,
    OverloadedError,
    UpstreamError,
    UpstreamTimeoutError,
)
from common.ids import uuid7
from common.money import token_cost
from common.upkeep import keep_running
from inference.answers import WholeAnswer, whole_answer
from inference.client import InferenceClient, Reply, Timeouts
from inference.counting import PromptSize, TokenCount, fewest_tokens, prompt_size
from inference.endpoints import ENDPOINTS, Body, Endpoint, choices, model_name
from inference.failures import AttemptFailedError
from inference.fields import LLAMA_CPP_FIELDS
from inference.streams import ChatStream, EventSplitter, error_frame
from usage.admission import Admission, Admissions, Demand, settle_now
from usage.events import CLIENT_CLOSED, STREAM, Event
from usage.link import LinkDownError, RedisLink
from usage.policies import Caller
from usage.routes import Routes
from usage.spool import Spool, replay

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 10.0
REPLAY_SECONDS = 30.0
# What a call reserves for its answer when nobody said how long it may be, and the bound it then gets under a budget.
ASSUMED_OUTPUT_TOKENS = 512
BOUND_OUTPUT_TOKENS = 4096
# These kinds send their count along with every chunk when asked, so that a call cut short is counted exactly.
KINDS_WITH_CONTINUOUS_USAGE = frozenset({"vllm", "sglang"})
# And this one its own form of it.
KIND_WITH_TIMINGS = "llama.cpp"
MOST_ATTEMPTS = 2
MOST_REFUSALS_A_MINUTE = 60


@dataclass(frozen=True, slots=True)
class CallUsage:
    """What a finished call used. `is_estimated`: the server gave no final count, so the tokens are ours."""

    prompt_tokens: int
    completion_tokens: int
    cost_nano: int
    is_estimated: bool


class _Call:
    """One admitted call until it is settled."""

    def __init__(
        self, *, caller: Caller, endpoint: Endpoint, model: RoutedModel, body: Body, request_id: str, payload: bytes
    ) -> None:
        self.id = uuid7().hex
        self.caller = caller
        self.endpoint = endpoint
        self.model = model
        self.request_id = request_id
        self.origin = current_origin.get()
        self.is_streamed = endpoint.streams and body.get("stream") is True
        self.choices = choices(body)
        self.asked_output = endpoint.asked_output_tokens(body)
        self.prompt: PromptSize = prompt_size(body, payload_bytes=len(payload), context_window=model.context_window)
        options = body.get("stream_options")
        self.wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        self.wants_timings = body.get("timings_per_token") is True
        self.stream: ChatStream | None = None
        self.started = time.perf_counter()
        self.first_token_at: float | None = None
        self.backend = ""
        self.upstream_seconds = 0.0
        self.was_at_work = False
        self.most_nano = 0
        self.admission: Admission | None = None
        self.reply: Reply | None = None
        self.ended_by: ApiError | None = None
        self.settled: asyncio.Future[Any] | None = None
        self.usage: CallUsage | None = None

    def open_stream(self) -> ChatStream:
        """The stream of a new attempt; nothing of an earlier one was delivered."""
        self.stream = ChatStream(model=self.model.name, wants_usage=self.wants_usage, wants_timings=self.wants_timings)
        return self.stream

    @property
    def bound_output(self) -> int:
        """The most tokens each answer may have, where a budget needs a bound."""
        if self.asked_output is not None:
            return self.asked_output
        bound, window = self.model.max_output_tokens or BOUND_OUTPUT_TOKENS, self.model.context_window
        if window is None:
            return bound
        # A server refuses a bound that does not fit beside the prompt.
        return max(1, min(bound, max(window - self.prompt.most_tokens, window // 4)))

    @property
    def assumed_output(self) -> int:
        """Tokens to expect of all answers together."""
        if not self.endpoint.output_limits:
            return 0
        return self.choices * (self.asked_output or min(ASSUMED_OUTPUT_TOKENS, self.bound_output))

    def cost(self, count: TokenCount) -> int:
        price_in, price_out = self.model.input_price_nano, self.model.output_price_nano
        if not price_in and not price_out:
            return 0
        return token_cost(count.prompt_tokens, price_in) + token_cost(count.completion_tokens, price_out)

    def demand(self) -> Demand:
        answers = self.choices * self.bound_output if self.endpoint.output_limits else 0
        self.most_nano = self.cost(TokenCount(self.prompt.most_tokens, answers))
        certain = self.prompt.likely_tokens + self.choices * (self.asked_output or 0)
        return Demand(
            model=self.model.name,
            needed_tokens=certain,
            wanted_tokens=self.prompt.likely_tokens + self.assumed_output,
            most_nano=self.most_nano,
        )

    def event(self, *, status: int, error_code: str, count: TokenCount, is_estimated: bool) -> Event:
        cost = self.cost(count)
        if self.caller.has_budget:
            # A server that answers more than it was allowed must not break the budget it was allowed from.
            cost = min(cost, self.most_nano)
        now = time.perf_counter()
        return Event(
            id=self.id,
            request_id=self.request_id,
            source=self.caller.source,
            organization_id=self.caller.organization_id,
            project_id=self.caller.project_id,
            key_id=self.caller.key_id,
            user_id=self.caller.user_id,
            model=self.model.name,
            backend=self.backend,
            endpoint=self.endpoint.path,
            status=status,
            error_code=error_code,
            is_streamed=self.is_streamed,
            is_estimated=is_estimated,
            prompt_tokens=count.prompt_tokens,
            cached_tokens=count.cached_tokens,
            completion_tokens=count.completion_tokens,
            cost_nano=cost,
            latency_ms=int((now - self.started) * 1000),
            first_token_ms=None if self.first_token_at is None else int((self.first_token_at - self.started) * 1000),
            secret_id=self.caller.secret_id,
            address=self.origin.address,
            user_agent=self.origin.user_agent,
        )

    def lost(self) -> Event:
        """The event of this call if its process dies now: as far as it came, or all it reserved if nobody can know."""
        if self.stream is not None and self.stream.has_content:
            count = self.count_so_far()
        else:
            count = TokenCount(self.prompt.likely_tokens, self.assumed_output)
        return self.event(status=500, error_code="gateway_lost", count=count, is_estimated=True)

    def likely_count(self) -> TokenCount:
        """The tokens of a server that took the call and was silent until its time was over."""
        answer = min(self.assumed_output, self.choices * ASSUMED_OUTPUT_TOKENS)
        return TokenCount(self.prompt.likely_tokens, answer)

    def count_so_far(self) -> TokenCount:
        if self.stream is None:
            return TokenCount(self.prompt.likely_tokens, 0)
        return self.stream.count(likely_prompt=self.prompt.likely_tokens)


class Answer:
    """An answer that has begun well. `body` is there when it is not streamed, and it is then already settled.

    A streamed one is read through `frames`; leaving that early closes the server's connection and settles. `usage` is
    known once the answer is finished, either way.
    """

    def __init__(self, call: _Call, *, body: bytes | bytearray | None = None, source: "Frames | None" = None) -> None:
        self._call = call
        self._source = source
        self.status = 200
        self.body = body
        self.headers = call.admission.headers if call.admission is not None else {}

    @property
    def usage(self) -> CallUsage | None:
        return self._call.usage

    @property
    def upstream_seconds(self) -> float:
        """How long the inference server took until the answer began, or was whole when it is not streamed."""
        return self._call.upstream_seconds

    def frames(self) -> "Frames":
        """The stream's server-sent events, as the client may see them. A failure on the way is the last of them."""
        if self._source is None:
            raise RuntimeError("This answer is not streamed: read its body.")
        return self._source

    async def aclose(self) -> None:
        """Leave the answer, wherever it is. Does nothing to a finished one."""
        if self._source is not None:
            await self._source.aclose()


class Frames(AsyncIterator[bytes]):
    """The frames of one streamed answer."""

    def __init__(
        self, calls: "MeteredCalls", call: _Call, stream: ChatStream, route: Route, opening: "_Opening"
    ) -> None:
        self._calls = calls
        self._call = call
        self._stream = stream
        self._route = route
        self._reply = opening.reply
        self._splitter = opening.splitter
        self._pieces = opening.pieces
        self._ready: list[bytes] = opening.frames
        self._failure = opening.failure
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            while not self._ready:
                if self._is_over:
                    raise StopAsyncIteration
                if self._failure is not None:
                    raise self._failure
                if self._stream.is_done:
                    await self._complete()
                else:
                    await self._read()
        except ApiError as error:
            return await self._fail(error)
        except asyncio.CancelledError:
            self._leave()
            raise
        frames, self._ready = self._ready, []
        return frames[0] if len(frames) == 1 else b"".join(frames)

    async def aclose(self) -> None:
        """Hang up: the server notices by its closed connection, and the call is settled with what came."""
        self._leave()
        await recorded(self._call)

    async def _read(self) -> None:
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            rest = self._splitter.rest()
            if rest:
                self._take(rest)
            if not self._stream.is_done and not self._stream.is_finished:
                raise UpstreamError(
                    "The model's server closed the connection before the answer was complete."
                ) from None
            self._stream.is_done = True
        else:
            for data in self._splitter.feed(piece):
                self._take(data)

    def _take(self, data: bytes) -> None:
        frame = self._stream.take(data)
        if self._call.first_token_at is None and self._stream.has_content:
            self._call.first_token_at = time.perf_counter()
        if frame:
            self._ready.append(frame)

    async def _complete(self) -> None:
        self._is_over = True
        likely = self._call.prompt.likely_tokens
        self._ready.append(self._stream.ending(likely_prompt=likely))
        self._settle(200, "")
        # The last frame tells the client that all is done: what it used is on record by then.
        await recorded(self._call)
        # And by now the connection has most likely seen the end of the answer, so that it can be used again.
        self._reply.release()

    async def _fail(self, error: ApiError) -> bytes:
        error = self._call.ended_by or error
        self._is_over = True
        self._reply.close()
        self._settle(error.status, error.code or error.kind)
        waiting, self._ready = self._ready, []
        return b"".join([*waiting, error_frame(error.body())])

    def _leave(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._reply.close()
            self._settle(CLIENT_CLOSED, "client_closed")

    def _settle(self, status: int, error_code: str) -> None:
        self._calls.routes.leave(self._route)
        is_estimated = not self._stream.has_final_count
        self._calls.finish(
            self._call, status=status, error_code=error_code, count=self._call.count_so_far(), is_estimated=is_estimated
        )


@dataclass(slots=True)
class _Opening:
    """A stream up to its first frame."""

    reply: Reply
    splitter: EventSplitter
    pieces: AsyncIterator[bytes]
    frames: list[bytes]
    failure: ApiError | None = None


async def recorded(call: _Call) -> None:
    """Wait until a finished call is settled; if Redis is away, it is on its way to the disk."""
    if call.settled is not None:
        with contextlib.suppress(LinkDownError, RedisError):
            await asyncio.shield(call.settled)


class _Refusals:
    """Which refused calls go on record: a program that goes on in spite of them must not fill the ledger."""

    def __init__(self) -> None:
        self._minute = 0
        self._seen: Counter[str] = Counter()

    def take(self, caller: Caller) -> bool:
        """Count a refusal; True while its caller has had few this minute."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            left_out = sum(max(0, number - MOST_REFUSALS_A_MINUTE) for number in self._seen.values())
            if left_out:
                log.warning("refusals_left_out", calls=left_out)
            self._minute, self._seen = minute, Counter()
        who = caller.key_id or caller.user_id
        self._seen[who] += 1
        return self._seen[who] <= MOST_REFUSALS_A_MINUTE


def _refused(
    caller: Caller,
    endpoint: Endpoint,
    model: RoutedModel | None,
    body: Body,
    request_id: str,
    started: float,
    error: ApiError,
) -> str:
    """The event of a call that nothing was asked for. A name that is no model's is not repeated: callers choose it."""
    return (
        Event(
            id=uuid7().hex,
            request_id=request_id,
            source=caller.source,
            organization_id=caller.organization_id,
            project_id=caller.project_id,
            key_id=caller.key_id,
            user_id=caller.user_id,
            model=model.name if model is not None else "",
            backend="",
            endpoint=endpoint.path,
            status=error.status,
            error_code=error.ledger_code[:60],
            is_streamed=endpoint.streams and body.get("stream") is True,
            is_estimated=False,
            prompt_tokens=0,
            cached_tokens=0,
            completion_tokens=0,
            cost_nano=0,
            latency_ms=int((time.perf_counter() - started) * 1000),
            first_token_ms=None,
            secret_id=caller.secret_id,
            address=current_origin.get().address,
            user_agent=current_origin.get().user_agent,
        )
        .encode()
        .decode()
    )


class MeteredCalls:
    """Makes metered calls on one event loop: `start` it there, `close` it there."""

    def __init__(self, *, replay_seconds: float = REPLAY_SECONDS) -> None:
        self._replay_seconds = replay_seconds
        self._timeouts = Timeouts(
            connect=settings.GATEWAY_CONNECT_TIMEOUT_SECONDS,
            first_byte=settings.GATEWAY_FIRST_BYTE_TIMEOUT_SECONDS,
            idle=settings.GATEWAY_IDLE_TIMEOUT_SECONDS,
            total=settings.GATEWAY_TOTAL_TIMEOUT_SECONDS,
        )
        self._running: dict[str, _Call] = {}
        self._refusals = _Refusals()
        self._upkeep: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the connections. With Redis or PostgreSQL away it starts all the same and goes on trying."""
        self.link = RedisLink()
        self._spool = Spool()
        self._admissions = Admissions(self.link, self._spool)
        self.routes = Routes()
        self._client = await InferenceClient(self._timeouts).__aenter__()
        await self.link.start()
        await self.routes.start()
        self._upkeep = [
            keep_running(self._extend_leases, name="leases"),
            keep_running(self._empty_spool, name="spool"),
        ]

    async def close(self) -> None:
        """Settle what still runs as left by its client, then close the connections."""
        for task in self._upkeep:
            task.cancel()
        await asyncio.gather(*self._upkeep, return_exceptions=True)
        settling = []
        for call in list(self._running.values()):
            self.finish(
                call, status=CLIENT_CLOSED, error_code="gateway_stopped", count=call.count_so_far(), is_estimated=True
            )
            settling.append(call.settled)
        await asyncio.gather(*(future for future in settling if future is not None), return_exceptions=True)
        await self._admissions.close()
        await self._spool.release()
        await self._client.close()
        await self.routes.close()
        await self.link.close()

    async def open(self, *, caller: Caller, endpoint: str, body: Body, request_id: str) -> Answer:
        """Make a call of `endpoint` (its path below `/v1`) with `body`, and return once its answer has begun.

        Raises an ApiError, which is what the client is to be told. `body` is not changed.
        """
        entry, started = ENDPOINTS[endpoint], time.perf_counter()
        model: RoutedModel | None = None
        try:
            name = model_name(body)
            if not caller.may_use_model(name):
                raise ModelNotAllowedError(name)
            model = await self.routes.find(name)
            call, routes, payload = await self._admit(caller, entry, model, body, request_id)
        except ApiError as refusal:
            if self._refusals.take(caller):
                # Nobody waits for it: the answer to a refused call must not take longer for being on record.
                self.link.execute(
                    "XADD", STREAM, "*", "e", _refused(caller, entry, model, body, request_id, started, refusal)
                )
            raise
        assert call.admission is not None  # noqa: S101 - that is what admitting is
        bound = call.bound_output if caller.has_budget and call.most_nano and entry.output_limits else None
        try:
            return await self._relay(call, body, routes, bound=bound, payload=payload)
        except ApiError as failure:
            error = call.ended_by or failure
            error.headers = {**call.admission.headers, **error.headers}
            self.finish(
                call,
                status=error.status,
                error_code=error.code or error.kind,
                count=call.likely_count() if call.was_at_work else TokenCount(),
                is_estimated=call.was_at_work,
            )
            raise error from failure
        except asyncio.CancelledError:
            self.finish(
                call, status=CLIENT_CLOSED, error_code="client_closed", count=call.count_so_far(), is_estimated=True
            )
            raise
        except Exception:
            self.finish(call, status=500, error_code="internal_error", count=call.count_so_far(), is_estimated=True)
            raise

    async def _admit(
        self, caller: Caller, entry: Endpoint, model: RoutedModel, body: Body, request_id: str
    ) -> tuple[_Call, list[Route], bytes]:
        """The call, where it may go, and what to send there first."""
        entry.check(body)
        if not getattr(model, entry.needs):
            raise InvalidRequestError(
                f"The model `{model.name}` does not serve {entry.path}.", code="unsupported_model", param="model"
            )
        if model.context_window is not None and fewest_tokens(body) > model.context_window:
            # A server would spend seconds on reading it before it said the same.
            raise ContextTooLongError(limit=model.context_window, requested=None)
        routes = self.routes.by_preference(model)
        if not routes:
            raise OverloadedError(f"No server offers the model `{model.name}` at the moment.", wait_seconds=5)
        payload = self._payload(body, routes[0], entry, bound=None)
        call = _Call(caller=caller, endpoint=entry, model=model, body=body, request_id=request_id, payload=payload)
        call.admission = await self._admissions.admit(caller, call.demand(), id=call.id, lost=call.lost())
        self._running[call.id] = call
        return call, routes, payload

    def secrets_in_use(self) -> set[str]:
        """The digests of the keys whose calls are running."""
        return {call.caller.digest for call in self._running.values() if call.caller.digest}

    def end_calls_of(self, digest: str, error: ApiError) -> None:
        """End the running calls of a secret: their servers stop, their clients read `error`."""
        for call in list(self._running.values()):
            if call.caller.digest == digest and call.reply is not None:
                call.ended_by = error
                call.reply.close()

    def finish(self, call: _Call, *, status: int, error_code: str, count: TokenCount, is_estimated: bool) -> None:
        """Settle a call, the first time this is called for it."""
        if self._running.pop(call.id, None) is None or call.admission is None:
            return
        event = call.event(status=status, error_code=error_code[:60], count=count, is_estimated=is_estimated)
        call.usage = CallUsage(event.prompt_tokens, event.completion_tokens, event.cost_nano, is_estimated)
        call.settled = self._admissions.settle(call.admission, event)

    def _payload(self, body: Body, route: Route, entry: Endpoint, *, bound: int | None) -> bytes:
        if route.kind == "llama.cpp":
            body = {name: value for name, value in body.items() if name in LLAMA_CPP_FIELDS}
        sent = {**body, "model": route.backend_name}
        if bound is not None and entry.asked_output_tokens(body) is None:
            sent["max_tokens"] = bound
        if entry.streams and body.get("stream") is True:
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

    async def _relay(
        self, call: _Call, body: Body, routes: list[Route], *, bound: int | None, payload: bytes
    ) -> Answer:
        route, number = routes[0], 1
        while True:
            if number > 1 or bound is not None:
                payload = self._payload(body, route, call.endpoint, bound=bound)
            try:
                return await self._attempt(call, route, payload)
            except AttemptFailedError as failure:
                if call.ended_by is not None:
                    # This connection was closed by us: no other server is to be tried, and this one is not at fault.
                    raise call.ended_by from failure
                log.warning("attempt_failed", backend=route.backend, status=failure.answer.status, attempt=number)
                if failure.is_servers:
                    self.routes.shun(route)
                if number == MOST_ATTEMPTS or not (failure.again or (failure.elsewhere and len(routes) > 1)):
                    raise failure.answer from failure
                route = route if failure.again else routes[1]
                number += 1

    async def _attempt(self, call: _Call, route: Route, payload: bytes) -> Answer:
        call.backend = route.backend
        self.routes.take(route)
        is_streaming = False
        asked_at = time.perf_counter()
        try:
            reply = await self._client.post(
                f"{route.base_url}/{call.endpoint.path}", credential=route.credential, payload=payload
            )
            call.reply = reply
            if call.is_streamed:
                stream = call.open_stream()
                opening = await _begin(reply, stream)
                is_streaming = True
                if stream.has_content:
                    call.first_token_at = time.perf_counter()
                return Answer(call, source=Frames(self, call, stream, route, opening))
            answer = await _read_whole(reply, call)
        except AttemptFailedError as failure:
            call.was_at_work = isinstance(failure.answer, UpstreamTimeoutError) and not failure.elsewhere
            raise
        finally:
            call.upstream_seconds += time.perf_counter() - asked_at
            if not is_streaming:
                self.routes.leave(route)
        self.finish(call, status=200, error_code="", count=answer.count, is_estimated=answer.is_estimated)
        await recorded(call)
        return Answer(call, body=answer.body)

    async def _extend_leases(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for call in list(self._running.values()):
                if call.admission is not None and not call.admission.is_local:
                    self._admissions.extend(call.admission, call.lost())

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
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.link.wait_until_down(), self._replay_seconds)


async def _begin(reply: Reply, stream: ChatStream) -> _Opening:
    """Read a stream up to its first frame: until then a failure is an ordinary error, and may be mended elsewhere."""
    opening = _Opening(reply, EventSplitter(), reply.pieces(), [])
    has_begun = False
    try:
        if not reply.is_event_stream:
            raise AttemptFailedError(UpstreamError("The model's server did not answer with a stream."), elsewhere=True)
        while not opening.frames and not stream.is_done:
            piece = await anext(opening.pieces)
            for data in opening.splitter.feed(piece):
                if frame := stream.take(data):
                    opening.frames.append(frame)
        has_begun = True
        return opening
    except StopAsyncIteration:
        raise AttemptFailedError(UpstreamError("The model's server sent an empty answer."), is_servers=True) from None
    except UpstreamTimeoutError as error:
        raise AttemptFailedError(error) from error
    except ApiError as error:
        if stream.has_content:
            # Words came before the failure, all in one read: they are delivered and counted, and then it is told.
            opening.failure = error
            has_begun = True
            return opening
        raise AttemptFailedError(error, is_servers=isinstance(error, UpstreamError)) from error
    finally:
        if not has_begun:
            reply.close()


async def _read_whole(reply: Reply, call: _Call) -> WholeAnswer:
    """An answer that is not streamed."""
    is_whole = False
    try:
        received = await reply.read()
        is_whole = True
    finally:
        if not is_whole:
            reply.close()
    return whole_answer(
        received,
        model=call.model.name,
        results=call.endpoint.results,
        choices=call.choices,
        likely_prompt=call.prompt.likely_tokens,
    )

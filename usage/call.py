"""One metered call, from its admission until it is settled: what it may cost, what it used, and its event."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from catalog.routing import RoutedModel
from common.context import current_origin
from common.errors import ApiError
from common.ids import uuid7_hex
from common.limits import NO_LIMITS
from common.money import token_cost
from inference.checks import Body
from inference.client import Reply
from inference.counting import PromptSize, TokenCount, estimated_output, prompt_size
from inference.endpoints import Endpoint, choices, model_name
from inference.forms import text_bytes
from inference.streams import AnswerStream
from usage.admission import Admission, Demand
from usage.events import Event
from usage.link import LinkDownError
from usage.policies import Caller

# What a call reserves for its answer when nobody said how long it may be, and the bound it then gets under a budget.
ASSUMED_OUTPUT_TOKENS = 512
BOUND_OUTPUT_TOKENS = 4096
# What a server is taken to write while a call waits for an answer that comes as a whole. Most write faster: doubt is in
# favor of who pays.
ASSUMED_TOKENS_PER_SECOND = 10


@dataclass(frozen=True, slots=True)
class CallUsage:
    """What a finished call used. `is_estimated`: the server gave no final count, so the tokens are ours."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_nano: int
    is_estimated: bool


class Call:
    """One admitted call until it is settled."""

    def __init__(
        self, *, caller: Caller, endpoint: Endpoint, model: RoutedModel, body: Body, request_id: str, payload: bytes
    ) -> None:
        self.id = uuid7_hex()
        self.caller = caller
        self.endpoint = endpoint
        self.model = model
        self.prices = caller.prices.get(model.name, (model.input_price_nano, model.output_price_nano))
        self.asked_model = model_name(body)
        self.request_id = request_id
        self.origin = current_origin.get()
        self.is_streamed = endpoint.is_streamed(body)
        self.choices = choices(body)
        self.asked_output = endpoint.asked_output_tokens(body)
        size = text_bytes(body) if endpoint.takes_form else len(payload)
        self.prompt: PromptSize = (
            PromptSize(0, 0)
            if endpoint.is_free
            else prompt_size(body, payload_bytes=size, context_window=model.context_window)
        )
        self.most_count = self._most_count(body)
        options = body.get("stream_options")
        self.wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        self.wants_timings = body.get("timings_per_token") is True
        self.stream: AnswerStream | None = None
        self.characters = 0
        self.started = time.perf_counter()
        self.asked_at = self.started
        self.held_since: float | None = None
        self.server_seconds = 0.0
        self.first_token_at: float | None = None
        self.backend = ""
        self.deployment = ""
        self.attempts = 0
        self.upstream_seconds = 0.0
        self.was_at_work = False
        self.is_sent = False
        # It is on record that no server has it: before one does, that has to be taken back.
        self.is_waiting = False
        self.admission: Admission | None = None
        self.reply: Reply | None = None
        self.beginning: asyncio.Timeout | None = None
        self.ended_by: ApiError | None = None
        self.settled: asyncio.Future[Any] | None = None
        self.usage: CallUsage | None = None

    def for_model(self, model: RoutedModel, body: Body, payload: bytes) -> "Call":
        """The same call of another model, not admitted yet."""
        return Call(
            caller=self.caller,
            endpoint=self.endpoint,
            model=model,
            body=body,
            request_id=self.request_id,
            payload=payload,
        )

    def become(self, other: "Call", admission: Admission) -> None:
        """Go on as `other`, which was admitted. It has taken its time from the start all the same."""
        self.id, self.model, self.prompt, self.most_count = other.id, other.model, other.prompt, other.most_count
        self.prices, self.admission, self.is_waiting = other.prices, admission, False

    def end(self, error: ApiError) -> None:
        """Have the client read `error`: what the call waits for is left, and its server hung up on."""
        self.ended_by = error
        if self.beginning is not None:
            self.beginning.reschedule(asyncio.get_running_loop().time())
        elif self.reply is not None:
            self.reply.close()

    def reached(self) -> None:
        """A server was reached: from now on it may be at work on the call, and what it does is charged."""
        self.is_sent, self.asked_at = True, time.perf_counter()
        self.held_since = self.asked_at

    def left(self) -> None:
        """Its server has answered all, or was hung up on: from now on it may be at work on others."""
        if self.held_since is not None:
            self.server_seconds += time.perf_counter() - self.held_since
            self.held_since = None

    def open_stream(self, kind: type[AnswerStream]) -> AnswerStream:
        """The stream of a new attempt; nothing of an earlier one was delivered."""
        self.stream = kind(model=self.model.name, wants_usage=self.wants_usage, wants_timings=self.wants_timings)
        return self.stream

    @property
    def bound_output(self) -> int:
        """The most tokens each answer may have, where a budget needs a bound."""
        if self.asked_output is not None:
            # Not every server can write nothing.
            return max(1, self.asked_output)
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
        price_in, price_out = self.prices
        if not price_in and not price_out:
            return 0
        return token_cost(count.prompt_tokens, price_in) + token_cost(count.completion_tokens, price_out)

    def _most_count(self, body: Body) -> TokenCount:
        """The most tokens that it may cost. What only reads, and says no word of its own, is charged for no answer."""
        read, written = self.prompt.most_tokens, 0
        if self.endpoint.output_limits:
            written = self.choices * self.bound_output
        elif self.endpoint.most_counted is not None:
            beyond = self.endpoint.most_counted(body, self.model.max_output_tokens)
            read, written = read + beyond.prompt_tokens, beyond.completion_tokens
        return TokenCount(read, written)

    def demand(self) -> Demand:
        certain = self.prompt.likely_tokens + self.choices * (self.asked_output or 0)
        may_overrun = self.endpoint.most_counted is not None
        return Demand(
            model=self.model.name,
            needed_tokens=certain,
            wanted_tokens=self.most_count.total if may_overrun else self.prompt.likely_tokens + self.assumed_output,
            most_nano=self.most_nano,
            may_overrun=may_overrun,
            limits=None if self.model.limits == NO_LIMITS else self.model.limits,
        )

    @property
    def most_nano(self) -> int:
        """The most that it may cost."""
        return self.cost(self.most_count)

    @property
    def has_budget(self) -> bool:
        """Whether money that it may cost is limited."""
        return self.caller.has_budget or self.model.limits.has_budget

    def event(self, *, status: int, error_code: str, count: TokenCount, is_estimated: bool) -> Event:
        cost = self.cost(count)
        if self.has_budget:
            # A server that counts more than it was allowed, or than there can be, must not break the budget.
            cost = min(cost, self.most_nano)
        now = time.perf_counter()
        served = self.server_seconds + (now - self.held_since if self.held_since is not None else 0.0)
        latency_ms = int((now - self.started) * 1000)
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
            latency_ms=latency_ms,
            first_token_ms=None if self.first_token_at is None else int((self.first_token_at - self.started) * 1000),
            reasoning_tokens=count.reasoning_tokens,
            deployment="" if self.deployment == self.model.name else self.deployment,
            asked_model="" if self.asked_model == self.model.name else self.asked_model,
            retries=self.origin.retries,
            failovers=max(0, self.attempts - 1),
            waited_ms=max(0, latency_ms - int(served * 1000)),
            secret_id=self.caller.secret_id,
            address=self.origin.address,
            user_agent=self.origin.user_agent,
        )

    def lost(self) -> Event:
        """The event of this call if its process dies before it says more."""
        count = TokenCount() if self.is_waiting else self._count_at_work()
        return self.event(status=500, error_code="gateway_lost", count=count, is_estimated=not self.is_waiting)

    def likely_count(self) -> TokenCount:
        """The tokens of a server that is at work and has said nothing: the longer it was, the more."""
        seconds = time.perf_counter() - self.asked_at
        written = self.choices * min(ASSUMED_OUTPUT_TOKENS, int(seconds * ASSUMED_TOKENS_PER_SECOND))
        return TokenCount(self.prompt.likely_tokens, min(self.assumed_output, written))

    def count_so_far(self) -> TokenCount:
        return self._count_at_work() if self.is_sent else TokenCount()

    def _count_at_work(self) -> TokenCount:
        if self.characters:
            return TokenCount(self.prompt.likely_tokens, estimated_output(self.characters, 1))
        if not self.is_streamed:
            return self.likely_count()
        if self.stream is None:
            # What is streamed is sent as it is written: nothing was.
            return TokenCount(self.prompt.likely_tokens, 0)
        return self.stream.count(likely_prompt=self.prompt.likely_tokens)


async def recorded(call: Call) -> None:
    """Wait until a finished call is settled; if Redis is away, it is on its way to the disk."""
    if call.settled is not None:
        with contextlib.suppress(LinkDownError, RedisError):
            await asyncio.shield(call.settled)

"""Calls that were refused before they began, on record."""

import time
from collections import Counter

import structlog

from catalog.routing import RoutedModel
from common.context import current_origin
from common.errors import ApiError
from common.ids import uuid7
from inference.checks import Body
from inference.endpoints import Endpoint, model_name
from usage.events import Event
from usage.policies import Caller

log = structlog.get_logger(__name__)

MOST_REFUSALS_A_MINUTE = 60


class Refusals:
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


def refused(
    caller: Caller,
    endpoint: Endpoint,
    model: RoutedModel | None,
    body: Body,
    request_id: str,
    started: float,
    error: ApiError,
) -> str:
    """The event of a call that nothing was asked for. A name that is no model's is not repeated: callers choose it."""
    origin = current_origin.get()
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
            error_code=error.ledger_code,
            is_streamed=endpoint.is_streamed(body),
            is_estimated=False,
            prompt_tokens=0,
            cached_tokens=0,
            completion_tokens=0,
            cost_nano=0,
            latency_ms=int((time.perf_counter() - started) * 1000),
            first_token_ms=None,
            asked_model="" if model is None or (asked := model_name(body)) == model.name else asked,
            retries=origin.retries,
            secret_id=caller.secret_id,
            address=origin.address,
            user_agent=origin.user_agent,
        )
        .encode()
        .decode()
    )

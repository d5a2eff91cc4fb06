"""What a caller reads when a limit refuses a call: which limit it was, whose, how far it is used, and when it ends."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.urls import reverse

from common.errors import ApiError, BudgetError, OverloadedError, RateLimitError
from common.money import display_dollars, exact_dollars
from common.zones import UTC as UTC_ZONE
from common.zones import zone_named
from usage.counters import Counter, Reach
from usage.models import Source
from usage.policies import KEY, MEMBER, MODEL, ORGANIZATION, PARTICIPANT, PLAN, PROJECT, USER, Caller, Scope

OWNERS = {
    KEY: "this key",
    USER: "your playground runs",
    PARTICIPANT: "your place in the cohort “{name}”",
    MEMBER: "your membership in the organization",
    PROJECT: "the project “{name}”",
    ORGANIZATION: "the organization “{name}”",
    PLAN: "your organization’s plan “{name}”",
    MODEL: "your organization for this model",
}
"""Whose a limit is, by the kind of its scope."""

UNITS = {
    "requests": ("requests_per_minute", "requests per min (RPM)"),
    "tokens": ("tokens_per_minute", "tokens per min (TPM)"),
    "concurrency": ("concurrent_requests", "requests at the same time"),
    "period_requests": ("requests_per_day", "requests per day (RPD)"),
    "period_tokens": ("tokens_per_day", "tokens per day (TPD)"),
    "period_gpu": ("gpu_seconds_per_day", "GPU-seconds per day"),
}
"""What the script calls a limit: its name in the API, and how OpenAI words it."""

SPANS = ((timedelta(days=2), "daily"), (timedelta(days=8), "weekly"), (timedelta.max, "monthly"))
"""What a budget is called by the length of its period."""

WINDOWS = {"daily": "today", "weekly": "7d", "monthly": "30d"}
"""What of the usage page shows all of that period."""


class BudgetUnknownError(OverloadedError):
    """What is left of a budget could not be told in time. No model was asked, so usage must not blame one."""

    default_code = "budget_unknown"


@dataclass(frozen=True, slots=True)
class Refused:
    """What the script refused: which of the limits it was given, `number` counting from 1 among those of its kind.

    `wait_seconds` is None where waiting is no use, or until the period ends; of a budget, or of tokens a day, it is set
    where only what running calls have reserved is in the way. `credit_nano` is what the organization's credits would
    have paid of the call: all that is left of them, where a budget of the organization refused the rest.
    """

    kind: str
    number: int
    limit: int
    used: int
    requested: int
    wait_seconds: float | None
    credit_nano: int = 0


def refusal(caller: Caller, reach: Reach, model: str, refused: Refused, headers: Mapping[str, str]) -> ApiError:
    """The error that a caller reads. `headers` are OpenAI's rate limit headers."""
    at = refused.number - 1
    error: ApiError
    if refused.kind == "seed":
        error = BudgetUnknownError("What you have used is being counted. Try again.", wait_seconds=2)
    elif refused.kind in {"requests", "tokens"}:
        error = _rate_limited(caller, reach.windows[at], model, refused)
    elif refused.kind == "concurrency":
        error = _rate_limited(caller, reach.running[at], model, refused)
    elif refused.kind == "budget":
        error = _budget_error(caller, reach.counters[at], refused)
    else:
        error = _period_error(caller, reach.counters[at], model, refused)
    error.headers.update(headers)
    return error


def headers_for(reach: Reach, left: Sequence[int], *, reset_ms: int) -> dict[str, str]:
    """OpenAI's rate limit headers, for the scope that has least left of each kind. `left` is -1 where none is set."""
    headers = {}
    for what, limits, lefts in zip(("requests", "tokens"), reach.rates, (left[::2], left[1::2]), strict=True):
        least, limit = min((rest, most) for rest, most in zip(lefts, limits, strict=True) if most is not None)
        headers[f"x-ratelimit-limit-{what}"] = str(limit)
        headers[f"x-ratelimit-remaining-{what}"] = str(least)
        headers[f"x-ratelimit-reset-{what}"] = duration(reset_ms if least < limit else 0)
    return headers


def duration(milliseconds: int) -> str:
    """A span of time as Go writes it, which is what OpenAI's headers hold: `12ms`, `8.64s`, `6m0s`, `3h0m5s`."""
    if milliseconds == 0:
        return "0s"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    if minutes < 60:
        return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
    return f"{minutes // 60}h{minutes % 60}m{seconds}s"


def _rate_limited(caller: Caller, scope: Scope, model: str, refused: Refused) -> RateLimitError:
    now = datetime.now(UTC)
    wait = refused.wait_seconds
    error = _limit_error(caller, scope, model, refused, wait)
    ends_at = None if wait is None else now + timedelta(seconds=wait)
    error.details = _details(caller, scope, UNITS[refused.kind][0], refused, ends_at, "1h")
    return error


def _period_error(caller: Caller, counter: Counter, model: str, refused: Refused) -> RateLimitError:
    ends_at = counter.period.ends_at
    wait = refused.wait_seconds
    if wait is None and (refused.kind != "period_tokens" or refused.requested <= refused.limit):
        wait = max(1.0, (ends_at - datetime.now(UTC)).total_seconds())
    if refused.kind == "period_gpu":
        refused = Refused("period_gpu", refused.number, refused.limit // 1000, refused.used // 1000, 1, None)
    error = _limit_error(caller, counter.scope, model, refused, wait)
    name = UNITS[refused.kind][0]
    error.details = _details(caller, counter.scope, name, refused, ends_at if wait else None, "today")
    return error


def _limit_error(caller: Caller, scope: Scope, model: str, refused: Refused, wait: float | None) -> RateLimitError:
    owner = OWNERS[scope.kind].format(name=scope.name)
    where = f"for {model} in organization {caller.organization_id} by the limit of {owner} on {UNITS[refused.kind][1]}"
    if wait is None:
        text = f"Request too large {where}: Limit {refused.limit}, Requested {refused.requested}. Ask for fewer tokens."
    else:
        pause = duration(max(1, math.ceil(wait * 1000)))
        figures = f"Limit {refused.limit}, Used {refused.used}, Requested {refused.requested}"
        text = f"Rate limit reached {where}: {figures}. Please try again in {pause}."
    kind = "tokens" if refused.kind.endswith("tokens") else "requests"
    return RateLimitError(text, kind=kind, wait_seconds=wait, limit=UNITS[refused.kind][0])


def _budget_error(caller: Caller, counter: Counter, refused: Refused) -> BudgetError:
    scope, ends_at = counter.scope, counter.period.ends_at
    figures = f"limit {exact_dollars(refused.limit)}, used or reserved {display_dollars(refused.used)}"
    if refused.used >= refused.limit:
        fault = f"is used up: {figures}."
    else:
        could = f", and this call could cost {display_dollars(refused.requested)}"
        fault = f"does not cover this call: {figures}{could}. Ask for fewer tokens."
    length = ends_at - counter.period.starts_at
    span = next(span for most, span in SPANS if length < most)
    day = ends_at.astimezone(zone_named(caller.zone) or UTC_ZONE)
    when = f"starts anew on {day:%Y-%m-%d} ({caller.zone})."
    if scope.kind == PARTICIPANT:
        if caller.valid_until is not None and caller.valid_until <= ends_at.timestamp():
            stops_at = datetime.fromtimestamp(caller.valid_until, UTC)
            when = f"does not start anew before this key stops, on {stops_at:%Y-%m-%d %H:%M} (UTC)."
        text = (
            f"Your {span} allowance in the cohort “{scope.name}”, for all your keys and playground runs there together,"
            f" {fault} It {when} Its organizers can raise it."
        )
    elif scope.kind == ORGANIZATION and caller.knows_credits:
        left = f"{display_dollars(refused.credit_nano)} of credits" if refused.credit_nano else "no credits"
        # A budget of nothing starts anew with nothing.
        then = f"The budget {when}" if refused.limit else "An owner or an admin can raise the budget."
        text = (
            f"The organization “{scope.name}” has {left} left, and its {span} budget for what they do not cover "
            f"{fault} {then} The operator of this portal can grant more credits."
        )
    else:
        owner = OWNERS[scope.kind].format(name=scope.name)
        text = f"The {span} budget of {owner} {fault} The budget {when}"
        if scope.kind == PLAN and caller.knows_credits:
            text += (
                " What credits pay counts against it as well; an owner or an admin may be able to choose another plan."
            )
    error = BudgetError(text, of=scope.kind, span=span, is_reserved=refused.wait_seconds is not None)
    error.details = _details(caller, scope, f"{span}_budget_nano", refused, ends_at, WINDOWS[span])
    if scope.kind == ORGANIZATION and caller.knows_credits:
        error.details["limit"]["credits"] = refused.credit_nano
    return error


def _details(
    caller: Caller, scope: Scope, name: str, refused: Refused, resets_at: datetime | None, window: str
) -> dict[str, Any]:
    """The same for programs. `url` is the page of the usage that the limit counts."""
    return {
        "limit": {
            "name": name,
            "scope": scope.kind,
            "scope_id": scope.id.rpartition(".")[2],
            "limit": refused.limit,
            "used": refused.used,
            "requested": refused.requested,
            "resets_at": None if resets_at is None else resets_at.isoformat(timespec="seconds"),
            "url": settings.PUBLIC_URL + usage_page(scope, project_id=caller.project_id, window=window),
        }
    }


def usage_page(scope: Scope, *, project_id: str, window: str) -> str:
    """The page of the usage that counts against a scope, to be read by who has a part in the project."""
    narrowed = {
        KEY: {"key": scope.id},
        USER: {"key": Source.PLAYGROUND.value},
        MEMBER: {"scope": "organization", "member": scope.id.rpartition(".")[2]},
        ORGANIZATION: {"scope": "organization"},
        PLAN: {"scope": "organization"},
        MODEL: {"scope": "organization", "model": scope.id},
    }
    asked = {"project": project_id, "window": window, **narrowed.get(scope.kind, {})}
    return f"{reverse('usage:overview')}?{urlencode(asked)}"

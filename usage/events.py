"""The usage event between the gateway and the ledger: a JSON array, so that a million of them stay small in Redis."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Self, cast

import orjson
from django.db.models import CharField

from common.origins import MOST_AGENT_CHARACTERS
from usage.clients import client_named
from usage.models import Source, UsageEvent

STREAM = "ly:usage"
GROUP = "ingest"
DEAD_LETTERS = "ly:usage:dead"
VERSION = 4
# What a gateway that was not yet updated, or a spool it left behind, may still hold.
VERSION_WITHOUT_ORIGIN = 1
VERSION_WITHOUT_DETAILS = 2
VERSION_WITHOUT_WAITING = 3
# What an event tells besides the ledger's columns.
ORIGIN = ("secret_id", "address", "user_agent")
WITH_ORIGIN = ([VERSION], [VERSION_WITHOUT_WAITING], [VERSION_WITHOUT_DETAILS])
# The status of a call whose client hung up.
CLIENT_CLOSED = 499
UUID7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")
SOURCES = frozenset(Source.values)
LARGEST_NUMBER = 32_767
LARGEST_COUNT = 2_147_483_647
LARGEST_MONEY = 9_000_000_000_000_000_000
# The last millisecond that a date can have. An id holds times up to the year 10889.
LATEST_MS = 253_402_300_799_999


class PoisonError(Exception):
    """An entry of the stream that can never become a row."""


# Not frozen: that would make each of the two that a call has three times as dear.
@dataclass(slots=True)
class Event:
    """One finished call. `id` is a version 7 UUID in hex, fixed at admission; the time of the call is the one in it.

    `secret_id`, `address` and `user_agent` say where a key was last used; they are no part of the ledger, which knows
    no addresses and takes `client` from what the program says of itself.
    """

    id: str
    request_id: str
    source: str
    organization_id: str
    project_id: str
    key_id: str
    user_id: str
    model: str
    backend: str
    endpoint: str
    status: int
    error_code: str
    is_streamed: bool
    is_estimated: bool
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_nano: int
    latency_ms: int
    first_token_ms: int | None
    reasoning_tokens: int = 0
    deployment: str = ""
    asked_model: str = ""
    retries: int = 0
    failovers: int = 0
    waited_ms: int = 0
    secret_id: str = ""
    address: str = ""
    user_agent: str = ""
    # No part of the array: who settles a call in Redis finds out, and puts it beside.
    draws_text: str | None = None

    @property
    def draws(self) -> Mapping[str, int] | None:
        """What the call drew on each grant of credits, by its id; None for one that drew on none."""
        return orjson.loads(self.draws_text) if self.draws_text else None

    @property
    def credit_nano(self) -> int | None:
        """Of the cost, what credits paid; None where they paid nothing."""
        return sum(self.draws.values()) if self.draws else None

    @property
    def server_ms(self) -> int:
        """How long servers were held by the call; of one that reached none it is nothing."""
        return self.latency_ms - self.waited_ms if self.backend else 0

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(int(self.id[:12], 16) / 1000, tz=UTC)

    @property
    def client(self) -> str:
        """The library that made the call, with its version."""
        return client_named(self.user_agent)

    def encode(self) -> bytes:
        """The event as it stands in the stream."""
        return orjson.dumps((VERSION, *_VALUES(self)))

    @classmethod
    def decode(cls, text: str | bytes, draws: str | None = None) -> Self:
        """The event in an entry of the stream, with the draws that stand beside it.

        Raises PoisonError for anything that the ledger's table would refuse.
        """
        try:
            version, *values = orjson.loads(text)
        except (orjson.JSONDecodeError, TypeError, ValueError) as error:
            raise PoisonError("not a JSON array") from error
        if version == VERSION_WITHOUT_ORIGIN:
            version, values = VERSION_WITHOUT_DETAILS, [*values, "", "", ""]
        if version == VERSION_WITHOUT_DETAILS:
            version, values = VERSION_WITHOUT_WAITING, [*values[:-3], 0, "", "", 0, 0, *values[-3:]]
        if version == VERSION_WITHOUT_WAITING:
            version, values = VERSION, [*values[:-3], 0, *values[-3:]]
        if version != VERSION or len(values) != len(_CHECKS):
            raise PoisonError(f"version {version!r} with {len(values)} values")
        for (name, check), value in zip(_CHECKS, values, strict=True):
            if not check(value):
                raise PoisonError(f"{name} is wrong" if name in ORIGIN else f"{name} is {str(value)[:80]!r}")
        if draws is not None and not _are_draws(draws):
            raise PoisonError(f"draws are {draws[:80]!r}")
        event = cls(*values)
        if event.waited_ms > event.latency_ms:
            raise PoisonError(f"waited_ms is {event.waited_ms} of {event.latency_ms}")
        return replace(event, draws_text=draws) if draws else event

    @classmethod
    def of_entry(cls, fields: Mapping[str, str]) -> Self:
        """The event that an entry of the stream has in its fields. Raises PoisonError like `decode`."""
        return cls.decode(fields.get("e", ""), fields.get("d"))


def without_origin(text: str) -> str:
    """An entry of the stream without where its call came from; as it is when it does not look like an event."""
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if not isinstance(values, list) or values[:1] not in WITH_ORIGIN:
        return text
    return orjson.dumps([*values[: -len(ORIGIN)], *[""] * len(ORIGIN)]).decode()


IN_ARRAY = tuple(field for field in fields(Event) if field.name != "draws_text")
# `dataclasses.astuple` copies deeply, at a tenth of the price of the whole call.
_VALUES = attrgetter(*(field.name for field in IN_ARRAY))


def _is_text(longest: int) -> Any:
    return lambda value: isinstance(value, str) and len(value) <= longest and "\x00" not in value


def _is_whole(largest: int) -> Any:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest


def _is_uuid7(value: Any) -> bool:
    return isinstance(value, str) and UUID7.fullmatch(value) is not None and int(value[:12], 16) <= LATEST_MS


def _is_address(value: Any) -> bool:
    if value == "":
        return True
    try:
        # PostgreSQL knows no zone of an address, which Python does.
        return isinstance(value, str) and "%" not in value and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _are_draws(text: str) -> bool:
    try:
        draws = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(draws, dict) and all(map(_is_whole(LARGEST_MONEY), draws.values()))


def _checks() -> list[tuple[str, Any]]:
    special: dict[str, Any] = {
        "id": _is_uuid7,
        "source": lambda value: isinstance(value, str) and value in SOURCES,
        "status": _is_whole(LARGEST_NUMBER),
        "cost_nano": _is_whole(LARGEST_MONEY),
        "retries": _is_whole(LARGEST_NUMBER),
        "failovers": _is_whole(LARGEST_NUMBER),
        "secret_id": _is_text(40),
        "address": _is_address,
        "user_agent": _is_text(MOST_AGENT_CHARACTERS),
        "first_token_ms": lambda value: value is None or _is_whole(LARGEST_COUNT)(value),
    }
    checks = []
    for field in IN_ARRAY:
        if field.name in special:
            check = special[field.name]
        elif field.type is bool:
            check = lambda value: isinstance(value, bool)  # noqa: E731 - one of three ways to make a check
        elif field.type is int:
            check = _is_whole(LARGEST_COUNT)
        else:
            column = cast("CharField[str, str]", UsageEvent._meta.get_field(field.name))
            check = _is_text(column.max_length or 0)
        checks.append((field.name, check))
    return checks


_CHECKS = _checks()

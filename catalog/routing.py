"""The catalog as the gateway needs it: which model runs where, under which name, at what price."""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from types import MappingProxyType
from typing import NamedTuple

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, ExpressionWrapper, OuterRef, Q, TextField
from django.db.models.functions import Cast, JSONObject
from django.utils.http import http_date

from catalog.models import SERVING, Deployment, ModelAlias
from common.fields import UndecryptableError, decrypt
from common.limits import LIMITS, Limits
from common.moments import today
from inference.client import Timeouts


@dataclass(frozen=True, slots=True)
class Route:
    """One place where a model runs, a deployment. `base_url` has no slash at its end; `backend_name` is what to put in
    `model`. The lowest `priority` goes first; deployments of one priority share calls by `weight`. Without
    `most_in_flight` any number of calls may be under way there at once."""

    id: int
    backend: str
    base_url: str
    kind: str
    backend_name: str
    is_healthy: bool | None
    priority: int
    weight: int
    most_in_flight: int | None
    timeouts: Timeouts
    credential: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RoutedModel:
    """A model that callers may name. `routes` is empty when no backend of it can be used at the moment; `fallback` is
    the name of the model that answers then. Following that ends somewhere."""

    name: str
    routes: tuple[Route, ...]
    input_price_nano: int
    output_price_nano: int
    context_window: int | None
    max_output_tokens: int | None
    uses: frozenset[str]
    created: int
    fallback: str | None
    notices: Mapping[str, str]
    """Headers that say when the model is deprecated and retired (RFC 9745, RFC 8594)."""
    retires_at: float | None
    successor: str | None
    limits: Limits
    """What each organization may use of it."""

    @property
    def is_retired(self) -> bool:
        return self.retires_at is not None and time.time() >= self.retires_at


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Every model that is offered, falls back on another or has retired, by its public name; and the public names that
    other names stand for."""

    models: Mapping[str, RoutedModel]
    aliases: Mapping[str, str]

    def find(self, name: str) -> RoutedModel | None:
        """The model called `name`, by its own name or another."""
        return self.models.get(name) or self.models.get(self.aliases.get(name, ""))


class _Row(NamedTuple):
    public_name: str
    aliases: list[str]
    input_price_nano: int
    output_price_nano: int
    context_window: int | None
    max_output_tokens: int | None
    uses: list[str]
    created_at: datetime
    fallback: str | None
    deprecated_on: date | None
    retires_on: date | None
    successor: str | None
    limits: dict[str, int | None]
    is_serving: bool
    id: int
    backend: str
    base_url: str
    kind: str
    is_healthy: bool | None
    backend_name: str
    priority: int
    weight: int
    most_in_flight: int | None
    connect_timeout: float | None
    first_byte_timeout: float | None
    idle_timeout: float | None
    total_timeout: float | None
    sealed: str


def load() -> RoutingTable:
    """The table as the database has it now, in one query.

    A backend whose credential no longer decrypts is left out of its models' routes; the health check tells staff.
    """
    rows = (
        Deployment.objects.annotate(is_serving=ExpressionWrapper(SERVING, output_field=BooleanField()))
        .filter(
            Q(is_serving=True) | Q(hosted_model__fallback__isnull=False) | Q(hosted_model__retires_on__lte=today()),
            hosted_model__is_visible=True,
        )
        .order_by("hosted_model__public_name", "pk")
        # The cast reads the ciphertext as it stands, so that one broken credential does not break the whole table.
        .values_list(
            "hosted_model__public_name",
            ArraySubquery(ModelAlias.objects.filter(hosted_model=OuterRef("hosted_model")).values("name")),
            "hosted_model__input_price_nano",
            "hosted_model__output_price_nano",
            "hosted_model__context_window",
            "hosted_model__max_output_tokens",
            "hosted_model__uses",
            "hosted_model__created_at",
            "hosted_model__fallback__public_name",
            "hosted_model__deprecated_on",
            "hosted_model__retires_on",
            "hosted_model__successor__public_name",
            JSONObject(**{name: f"hosted_model__{name}" for name in LIMITS}),
            "is_serving",
            "pk",
            "backend__name",
            "backend__base_url",
            "backend__kind",
            "backend__is_healthy",
            "backend_name",
            "priority",
            "weight",
            "most_in_flight",
            "connect_timeout_seconds",
            "first_byte_timeout_seconds",
            "idle_timeout_seconds",
            "total_timeout_seconds",
            Cast("backend__credential", TextField()),
        )
    )
    by_name: defaultdict[str, list[_Row]] = defaultdict(list)
    for values in rows:
        row = _Row(*values)
        by_name[row.public_name].append(row)
    fallbacks = {name: found[0].fallback for name, found in by_name.items()}
    models = {
        name: _model(name, found, None if _is_loop(fallbacks, name) else fallbacks[name])
        for name, found in by_name.items()
    }
    return RoutingTable(
        models=MappingProxyType(models),
        aliases=MappingProxyType({alias: name for name, found in by_name.items() for alias in found[0].aliases}),
    )


def _is_loop(fallbacks: Mapping[str, str | None], name: str) -> bool:
    """Whether the model falls back on itself: two members of staff may each have set one half of it."""
    seen: set[str] = set()
    following = fallbacks.get(name)
    while following is not None and following not in seen:
        if following == name:
            return True
        seen.add(following)
        following = fallbacks.get(following)
    return False


def _model(name: str, rows: list[_Row], fallback: str | None) -> RoutedModel:
    first = rows[0]
    return RoutedModel(
        name=name,
        routes=tuple(route for row in rows if row.is_serving and (route := _route(row)) is not None),
        input_price_nano=first.input_price_nano,
        output_price_nano=first.output_price_nano,
        context_window=first.context_window,
        max_output_tokens=first.max_output_tokens,
        uses=frozenset(first.uses),
        created=int(first.created_at.timestamp()),
        fallback=fallback,
        notices=_notices(first),
        retires_at=None if first.retires_on is None else _begin_of(first.retires_on),
        successor=first.successor,
        limits=Limits(**first.limits),
    )


def _notices(row: _Row) -> Mapping[str, str]:
    notices = {}
    if row.deprecated_on is not None:
        notices["Deprecation"] = f"@{_begin_of(row.deprecated_on):.0f}"
    if row.retires_on is not None:
        notices["Sunset"] = http_date(_begin_of(row.retires_on))
    return MappingProxyType(notices)


def _begin_of(day: date) -> float:
    return datetime.combine(day, time_of_day.min, tzinfo=UTC).timestamp()


def _route(row: _Row) -> Route | None:
    try:
        credential = decrypt(row.sealed) if row.sealed else ""
    except UndecryptableError:
        return None
    return Route(
        id=row.id,
        backend=row.backend,
        base_url=row.base_url,
        kind=row.kind,
        backend_name=row.backend_name,
        is_healthy=row.is_healthy,
        priority=row.priority,
        weight=row.weight,
        most_in_flight=row.most_in_flight,
        timeouts=Timeouts(
            connect=row.connect_timeout or settings.GATEWAY_CONNECT_TIMEOUT_SECONDS,
            first_byte=row.first_byte_timeout or settings.GATEWAY_FIRST_BYTE_TIMEOUT_SECONDS,
            idle=row.idle_timeout or settings.GATEWAY_IDLE_TIMEOUT_SECONDS,
            total=row.total_timeout or settings.GATEWAY_TOTAL_TIMEOUT_SECONDS,
        ),
        credential=credential,
    )

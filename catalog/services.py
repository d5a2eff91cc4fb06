"""Everything that writes to the catalog."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_noop

from accounts.audit import record
from accounts.limits.services import change_limits
from accounts.models import User
from catalog import discovery
from catalog.discovery import DiscoveryError, FoundModel, FoundServer, LocalServer
from catalog.kinds import UNREADABLE
from catalog.models import Backend, BackendKind, BackendQuerySet, Deployment, Fault, HostedModel, ModelAlias, ModelPrice
from catalog.signals import catalog_changed
from common.fields import UndecryptableError, decrypt
from common.http import Client, origin, run
from inference.uses import Use
from notifications.services import notify

log = structlog.get_logger(__name__)

EMBEDDED_NAME = "embedded"
EMBEDDED_MODEL = "smollm2-135m-instruct"
EMBEDDED_CONTEXT_WINDOW = 8192
EMBEDDED_DESCRIPTION = gettext_noop(
    "A demonstration model of 135 million parameters that runs on this machine’s processor, so that everything here "
    "can be tried before a real model is connected. It makes things up, and its Chinese is poor."
)
RESERVED_NAMES = frozenset({EMBEDDED_NAME, "check", "connect", "limits", "models"})
CHECK_DEADLINE_SECONDS = 3.0
# Pages say a time in whole minutes: none of a server that answers is ever shown as a minute old.
WRITE_EVERY = timedelta(seconds=30)
PRICES = frozenset({"input_price_nano", "output_price_nano"})


class ReservedNameError(Exception):
    """The name is the demonstration model's, or stands in an address of ours."""


@dataclass(frozen=True, slots=True)
class Connected:
    """What connecting a backend did to the catalog. The lists hold public names of models; `passed_over` are those that
    other models have as an alias."""

    backend: Backend
    is_new: bool
    found: tuple[FoundModel, ...]
    added: tuple[str, ...]
    vanished: tuple[str, ...]
    passed_over: tuple[str, ...]


def discover(*, url: str, credential: str, kind: BackendKind | None = None) -> FoundServer:
    """What `connect_backend` would find at `url`; nothing is saved.

    Raises DiscoveryError.
    """
    return run(discovery.inspect(discovery.normalize(url), credential=credential, kind=kind))


def connect_backend(
    *,
    name: str,
    base_url: str,
    credential: str | None = None,
    kind: BackendKind | None = None,
    by: User | None = None,
) -> Connected:
    """Host every model that the server at `base_url` lists, under the names it gives them.

    The backend of this name is updated when there is one. A credential of None keeps the stored one, but only for the
    server it was given for: at another address it is forgotten rather than sent.

    Raises ReservedNameError, or DiscoveryError when the server cannot be used; nothing is written then.
    """
    if name in RESERVED_NAMES:
        raise ReservedNameError
    if credential is None:
        credential = _stored_credential(name, base_url)
    server = discover(url=base_url, credential=credential, kind=kind)
    with transaction.atomic():
        before = _address_of(name)
        backend, is_new = Backend.objects.update_or_create(
            name=name, defaults={"base_url": server.base_url, "credential": credential, "kind": server.kind}
        )
        record(
            "backend.connected" if is_new else "backend.changed",
            by=by,
            target=backend,
            label=name,
            before=before,
            after=_address_of(name),
        )
        return _host(backend, server, is_new=is_new)


def _address_of(name: str) -> dict[str, str]:
    """Where the backend of this name is; empty when there is none. Its credential is in no log."""
    backend = Backend.objects.filter(name=name).only("base_url", "kind").first()
    return {"base_url": backend.base_url, "kind": backend.kind} if backend else {}


def try_backend(*, backend: Backend, url: str, credential: str | None, kind: BackendKind | None) -> FoundServer:
    """What `connect_backend` would find for this backend at `url`; nothing is saved.

    Raises DiscoveryError.
    """
    if credential is None:
        credential = _stored_credential(backend.name, url)
    return discover(url=url, credential=credential, kind=kind)


def rediscover_backend(*, backend: Backend) -> Connected:
    """Ask the server again which models it serves, and host those.

    Raises DiscoveryError, also when the stored credential cannot be decrypted.
    """
    server = discover(url=backend.base_url, credential=_credential_of(backend), kind=BackendKind(backend.kind))
    with transaction.atomic():
        return _host(Backend.objects.select_for_update().get(pk=backend.pk), server, is_new=False)


@transaction.atomic
def set_backend_enabled(*, backend: Backend, is_enabled: bool, by: User | None = None) -> None:
    """Send calls to this backend again, or no longer."""
    backend.is_enabled = is_enabled
    backend.save(update_fields=["is_enabled"])
    record("backend.enabled" if is_enabled else "backend.disabled", by=by, target=backend, label=backend.name)


def remove_backend(*, backend: Backend, by: User | None) -> None:
    """Forget the backend, and the models that ran nowhere else."""
    with transaction.atomic():
        record("backend.removed", by=by, target=backend, label=backend.name, before=_address_of(backend.name))
        names = list(backend.deployments.values_list("hosted_model_id", flat=True))
        backend.delete()
        HostedModel.objects.filter(pk__in=names, deployments=None).delete()


@transaction.atomic
def edit_model(
    *,
    hosted_model: HostedModel,
    by: User | None,
    description: str,
    input_price_nano: int,
    output_price_nano: int,
    context_window: int | None,
    max_output_tokens: int | None,
    uses: list[str],
    is_visible: bool,
    aliases: Sequence[str],
    fallback: HostedModel | None,
    deprecated_on: date | None,
    retires_on: date | None,
    successor: HostedModel | None,
) -> None:
    """Change what developers read about a model, what it costs them, whether they see it, its other names, who answers
    in its place, and when it goes."""
    earlier = ModelPrice(
        model=hosted_model.public_name,
        since=hosted_model.created_at,
        input_price_nano=hosted_model.input_price_nano,
        output_price_nano=hosted_model.output_price_nano,
    )
    before, after = _save(
        hosted_model,
        {
            "description": description,
            "input_price_nano": input_price_nano,
            "output_price_nano": output_price_nano,
            "context_window": context_window,
            "max_output_tokens": max_output_tokens,
            "uses": uses,
            "is_visible": is_visible,
            "fallback": fallback,
            "deprecated_on": deprecated_on,
            "retires_on": retires_on,
            "successor": successor,
        },
    )
    names = hosted_model.other_names
    if set(names) != set(aliases):
        hosted_model.aliases.exclude(name__in=aliases).delete()
        ModelAlias.objects.bulk_create(
            ModelAlias(name=name, hosted_model=hosted_model) for name in aliases if name not in names
        )
        before, after = before | {"aliases": names}, after | {"aliases": list(aliases)}
    if PRICES & set(after):
        # What it cost until now is known to nobody else.
        if not ModelPrice.objects.history_of(hosted_model).exists():
            earlier.save()
        ModelPrice.objects.create(
            model=hosted_model.public_name,
            input_price_nano=input_price_nano,
            output_price_nano=output_price_nano,
            set_by=by,
        )
    if after:
        record(
            "model.price_changed" if PRICES & set(after) else "model.changed",
            by=by,
            target=hosted_model,
            label=hosted_model.public_name,
            before=before,
            after=after,
        )


def change_model_limits(
    *, hosted_model: HostedModel, changes: Mapping[str, Any], by: User, shown: Mapping[str, Any] | None = None
) -> None:
    """Set what each organization may use of a model. Raises ChangedMeanwhileError as `check_unchanged` does."""
    change_limits(
        hosted_model,
        changes,
        shown=shown,
        action="model.limits_changed",
        target=hosted_model,
        label=hosted_model.public_name,
        by=by,
    )


def _save(row: HostedModel | Deployment, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Save the row with these values; what those that changed were before, and are now."""
    changed = {name: value for name, value in values.items() if value != getattr(row, name)}
    before = {name: getattr(row, name) for name in changed}
    for name, value in changed.items():
        setattr(row, name, value)
    row.save()
    return _plain(before), _plain(changed)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """For the audit log: a model by its name, a day as text."""
    return {name: str(value) if isinstance(value, HostedModel | date) else value for name, value in values.items()}


@transaction.atomic
def set_deployment_enabled(*, deployment: Deployment, is_enabled: bool, by: User | None) -> None:
    """Send calls for this model to this backend again, or no longer. What staff decide here outlives discovery."""
    deployment.is_enabled, deployment.vanished_at = is_enabled, None
    deployment.save(update_fields=["is_enabled", "vanished_at"])
    action = "deployment.enabled" if is_enabled else "deployment.disabled"
    record(action, by=by, target=deployment, label=deployment.backend_name)


@transaction.atomic
def edit_deployment(
    *,
    deployment: Deployment,
    by: User | None,
    priority: int,
    weight: int,
    most_in_flight: int | None = None,
    connect_timeout_seconds: float | None = None,
    first_byte_timeout_seconds: float | None = None,
    idle_timeout_seconds: float | None = None,
    total_timeout_seconds: float | None = None,
) -> None:
    """Change which share of a model's calls goes to this backend, how many at once, and how long they may take."""
    before, after = _save(
        deployment,
        {
            "priority": priority,
            "weight": weight,
            "most_in_flight": most_in_flight,
            "connect_timeout_seconds": connect_timeout_seconds,
            "first_byte_timeout_seconds": first_byte_timeout_seconds,
            "idle_timeout_seconds": idle_timeout_seconds,
            "total_timeout_seconds": total_timeout_seconds,
        },
    )
    if after:
        label = str(deployment)
        record("deployment.changed", by=by, target=deployment, label=label, before=before, after=after)


@transaction.atomic
def connect_embedded() -> Backend | None:
    """Host the demonstration model that this installation started, or stop offering it when it started none.

    Its address and key are new at every start, and it may still be loading: nothing is asked of it here.
    """
    known = (
        Deployment.objects.select_for_update().filter(backend__is_embedded=True, backend_name=EMBEDDED_MODEL).first()
    )
    if not settings.EMBEDDED_MODEL_URL:
        if known and known.vanished_at is None:
            known.is_enabled, known.vanished_at = False, timezone.now()
            known.save(update_fields=["is_enabled", "vanished_at"])
            set_backend_enabled(backend=known.backend, is_enabled=False)
        return None
    # What the last check found was found at another address.
    address: dict[str, str | bool | None] = {
        "base_url": discovery.normalize(settings.EMBEDDED_MODEL_URL),
        "credential": settings.EMBEDDED_MODEL_KEY,
        "kind": BackendKind.LLAMA_CPP,
        "is_healthy": None,
        "fault": "",
    }
    if known and known.vanished_at:
        # Only what went away by itself comes back by itself: staff may have switched the demonstration off.
        known.is_enabled, known.vanished_at = True, None
        known.save(update_fields=["is_enabled", "vanished_at"])
        address["is_enabled"] = True
    backend, _created = Backend.objects.update_or_create(
        is_embedded=True, defaults=address, create_defaults={"name": EMBEDDED_NAME, **address}
    )
    hosted_model, _created = HostedModel.objects.get_or_create(
        public_name=EMBEDDED_MODEL,
        defaults={
            "description": EMBEDDED_DESCRIPTION,
            "context_window": EMBEDDED_CONTEXT_WINDOW,
            "uses": [Use.CHAT, Use.EMBEDDINGS],
            "is_demonstration": True,
        },
    )
    Deployment.objects.get_or_create(
        backend=backend,
        backend_name=EMBEDDED_MODEL,
        defaults={"hosted_model": hosted_model, "context_window": EMBEDDED_CONTEXT_WINDOW},
    )
    return backend


def find_local_servers() -> list[LocalServer]:
    """Inference servers that listen on this machine and are not connected yet."""
    taken = {settings.PORT}
    for url in Backend.objects.values_list("base_url", flat=True):
        _scheme, host, port = origin(url)
        if host in {"127.0.0.1", "localhost", "::1"}:
            taken.add(port)
    return run(discovery.find_local(except_ports=taken))


def check_backends(*, only: BackendQuerySet | None = None, deadline_seconds: float = CHECK_DEADLINE_SECONDS) -> None:
    """Ask every enabled backend (or only these) whether it serves, all at once, and write what changed.

    A change of health is announced to who routes calls; the time of the answer is written twice a minute.
    """
    chosen = Backend.objects.enabled() if only is None else only
    backends = list(chosen.with_sealed_credential())
    places = [(backend.base_url, backend.sealed) for backend in backends]
    results = run(_check_all(places, deadline_seconds))
    for backend, result in zip(backends, results, strict=True):
        _write_health(backend, result)


async def _check_all(places: list[tuple[str, str]], deadline_seconds: float) -> list[int | DiscoveryError]:
    async with Client(deadline_seconds=deadline_seconds) as client:
        return await asyncio.gather(*(_check_one(client, base_url, sealed) for base_url, sealed in places))


async def _check_one(client: Client, base_url: str, sealed: str) -> int | DiscoveryError:
    try:
        return await discovery.check(client, base_url, credential=decrypt(sealed) if sealed else "")
    except UndecryptableError:
        return DiscoveryError(Fault.UNDECRYPTABLE)
    except DiscoveryError as error:
        return error


def _write_health(backend: Backend, result: int | DiscoveryError) -> None:
    now = timezone.now()
    if isinstance(result, DiscoveryError):
        is_healthy, fault, fault_detail, latency_ms = False, result.fault.value, result.detail, None
    else:
        is_healthy, fault, fault_detail, latency_ms = True, "", "", result
    said = (backend.is_healthy, backend.fault, backend.fault_detail) == (is_healthy, fault, fault_detail)
    if said and backend.checked_at and now - backend.checked_at < WRITE_EVERY:
        return
    # By the address too: staff may have pointed the backend elsewhere while this answer was on its way.
    Backend.objects.filter(pk=backend.pk, base_url=backend.base_url).update(
        is_healthy=is_healthy, fault=fault, fault_detail=fault_detail, latency_ms=latency_ms, checked_at=now
    )
    if fault == Fault.UNDECRYPTABLE and backend.fault != fault:
        _tell_staff(backend, kind=UNREADABLE)
    if backend.is_healthy is not is_healthy:
        log.info("backend_health", backend=backend.name, is_healthy=is_healthy, fault=fault)
        catalog_changed()


def _tell_staff(backend: Backend, *, kind: str) -> None:
    for user in User.objects.filter(is_staff=True, is_active=True):
        notify(
            recipient=user,
            kind=kind,
            object_id=f"backend:{backend.name}",
            title=backend.name,
            url=reverse("catalog:backend", args=[backend.name]),
        )


def _stored_credential(name: str, url: str) -> str:
    backend = Backend.objects.filter(name=name).first()
    if backend is None or origin(backend.base_url) != origin(discovery.normalize(url)):
        return ""
    return _credential_of(backend)


def _credential_of(backend: Backend) -> str:
    try:
        return backend.credential
    except UndecryptableError:
        raise DiscoveryError(Fault.UNDECRYPTABLE) from None


def _host(backend: Backend, server: FoundServer, *, is_new: bool) -> Connected:
    """Write what was found on `backend`, whose row the caller's transaction has locked by writing it."""
    before = {row.backend_name: row for row in backend.deployments.select_related("hosted_model")}
    new = [model for model in server.models if model.name not in before]
    # Hosted under it, the model would take calls that are meant for another.
    aliases = set(ModelAlias.objects.filter(name__in=[model.name for model in new]).values_list("name", flat=True))
    new = [model for model in new if model.name not in aliases]
    hosted, added = _hosted_models(new)
    affected = [*hosted.values(), *(row.hosted_model for row in before.values())]
    said_before = _context_windows(affected)
    Deployment.objects.bulk_create(
        Deployment(
            hosted_model=hosted[model.name],
            backend=backend,
            backend_name=model.name,
            context_window=model.context_window,
        )
        for model in new
    )
    vanished = _update_deployments(before, server)
    _follow_context_windows(affected, said_before)
    Backend.objects.filter(pk=backend.pk).update(
        is_healthy=True, fault="", fault_detail="", latency_ms=server.latency_ms, checked_at=timezone.now()
    )
    catalog_changed()
    return Connected(
        backend=backend,
        is_new=is_new,
        found=tuple(model for model in server.models if model.name not in aliases),
        added=added,
        vanished=vanished,
        passed_over=tuple(sorted(aliases)),
    )


def _hosted_models(found: Sequence[FoundModel]) -> tuple[dict[str, HostedModel], tuple[str, ...]]:
    """The models of these names, made where there are none; and the names of those made."""
    names = [model.name for model in found]
    known = set(HostedModel.objects.filter(public_name__in=names).values_list("public_name", flat=True))
    missing = sorted((model for model in found if model.name not in known), key=lambda model: model.name)
    # In order of name, so that two backends discovered at once cannot wait for each other in a circle.
    HostedModel.objects.bulk_create(
        [
            HostedModel(public_name=model.name, context_window=model.context_window, uses=sorted(model.uses))
            for model in missing
        ],
        ignore_conflicts=True,
    )
    hosted = {model.public_name: model for model in HostedModel.objects.filter(public_name__in=names)}
    return hosted, tuple(model.name for model in missing)


def _update_deployments(before: dict[str, Deployment], server: FoundServer) -> tuple[str, ...]:
    """Bring what was hosted before in line with what is listed now. Returns public names of models that vanished."""
    listed = {model.name: model for model in server.models}
    vanished: list[str] = []
    for name, row in before.items():
        if name in listed:
            row.context_window = listed[name].context_window
            if row.vanished_at:
                row.is_enabled, row.vanished_at = True, None
        elif row.is_enabled:
            row.is_enabled, row.vanished_at = False, timezone.now()
            vanished.append(row.hosted_model.public_name)
    Deployment.objects.bulk_update(before.values(), ["is_enabled", "vanished_at", "context_window"])
    return tuple(vanished)


def _context_windows(models: Sequence[HostedModel]) -> dict[int, list[int]]:
    windows: dict[int, list[int]] = {model.pk: [] for model in models}
    rows = Deployment.objects.filter(hosted_model__in=windows, is_enabled=True, context_window__isnull=False)
    for model_id, window in rows.values_list("hosted_model_id", "context_window"):
        windows[model_id].append(window or 0)
    return windows


def _follow_context_windows(models: Sequence[HostedModel], said_before: dict[int, list[int]]) -> None:
    """A model's context window is the smallest its servers give, until staff enter another figure."""
    said_now = _context_windows(models)
    changed = []
    for model in models:
        follows = model.context_window is None or model.context_window in said_before[model.pk]
        smallest = min(said_now[model.pk], default=None)
        if follows and smallest and smallest != model.context_window:
            model.context_window = smallest
            changed.append(model)
    HostedModel.objects.bulk_update(changed, ["context_window"])

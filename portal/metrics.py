"""/metrics: what this machine's processes counted, and what only a look can tell, for a Prometheus that may read it.

Nobody may until a setting says who. Networks are those that connect to this process itself: what came through a proxy
could be anybody's, so it needs the token.
"""

import asyncio
import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING

import redis
from django.conf import settings
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from catalog.models import Deployment
from common.networks import address_in, contains
from usage import metrics, spool
from usage.threads import DatabaseAwayError, in_thread
from usage.waiting import waiting

if TYPE_CHECKING:
    from portal.health import Looks

LOOK_SECONDS = 1.5
# What proxies add, each its own.
FORWARDED = ("x-forwarded-for", "forwarded", "via", "x-real-ip")


async def page(request: Request) -> Response:
    """The numbers; 404 while nobody may read them, 401 or 403 for who may not."""
    if not settings.METRICS_TOKEN and not settings.METRICS_NETWORKS:
        return PlainTextResponse("Nobody may read this: METRICS_NETWORKS and METRICS_TOKEN are not set.\n", 404)
    if not _is_from_network(request) and not _has_token(request):
        if settings.METRICS_TOKEN:
            return PlainTextResponse("This needs the token.\n", 401, {"www-authenticate": "Bearer"})
        return PlainTextResponse("Not for this address: METRICS_NETWORKS says for which.\n", 403)
    looks: Looks = request.app.state.looks
    found, waits, places, counted = await asyncio.gather(
        looks.found(), _waiting(looks.durable), _deployments(), asyncio.to_thread(_counted)
    )
    parts = GaugeMetricFamily("lyceum_part_up", "Whether a part answers, as /readyz says.", labels=["part"])
    for name, wrong in found.items():
        parts.add_metric([name], not wrong)
    content = generate_latest(metrics.Metrics([parts, *waits, *places, *counted]))
    return Response(content, headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"})


def _is_from_network(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        address = str(address_in(request.client.host))
    except ValueError:
        return False
    return contains(tuple(settings.METRICS_NETWORKS), address)


def _has_token(request: Request) -> bool:
    scheme, _space, token = request.headers.get("authorization", "").partition(" ")
    expected: str = settings.METRICS_TOKEN
    return scheme.lower() == "bearer" and bool(expected) and hmac.compare_digest(token.encode(), expected.encode())


def _counted() -> Iterable[Metric]:
    metrics.write_page()
    kept = GaugeMetricFamily(
        "lyceum_spool_bytes", "What waits on this machine's disk until Redis takes it.", value=spool.size()
    )
    return [kept, *metrics.counted()]


async def _waiting(durable: "redis.asyncio.Redis") -> list[Metric]:
    """What waits in Redis; nothing while it does not answer, which is not the same as zero."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            found = await waiting(durable)
    except (redis.RedisError, OSError, TimeoutError):
        return []
    return [
        GaugeMetricFamily(
            "lyceum_usage_stream_events", "Usage events in the stream to PostgreSQL.", value=found.events
        ),
        GaugeMetricFamily(
            "lyceum_usage_stream_age_seconds", "How long the oldest of them has waited.", value=found.age_seconds
        ),
        GaugeMetricFamily(
            "lyceum_usage_dead_letters", "Events put aside, which can never be written.", value=found.dead_letters
        ),
    ]


async def _deployments() -> list[Metric]:
    """Whether each deployment answered its last check; nothing while PostgreSQL does not answer."""
    healthy = GaugeMetricFamily(
        "lyceum_deployment_healthy",
        "Whether a deployment's server answered its last check.",
        labels=["model", "backend"],
    )
    try:
        found = await in_thread(lambda: list(Deployment.objects.health()), seconds=LOOK_SECONDS)
    except DatabaseAwayError:
        return []
    for model, backend, is_healthy in found:
        healthy.add_metric([model, backend], bool(is_healthy))
    return [healthy]

"""The web process: /v1 goes to the gateway, /stream to run streams, health answers by itself, the rest is Django.

Long-lived streams never pass through Django, whose ASGI handler pins a thread for each.
"""

import os
import warnings
from contextlib import AsyncExitStack

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

import django
from django.core.handlers.asgi import ASGIHandler
from starlette.types import Message, Receive, Scope, Send

django.setup(set_prefix=False)
# Static files come as synchronous iterators; reading one whole is what a file of this size deserves.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

from common.context import current_request_id
from common.ids import request_id
from common.stopping import CLOSE, stopping
from gateway.asgi import application as gateway
from playground.asgi import application as streams
from portal.checks import refuse_wrong_configuration
from portal.health import application as health

refuse_wrong_configuration()
pages = ASGIHandler()


async def lifespan(receive: Receive, send: Send) -> None:
    """Start and stop the applications that keep connections open."""
    async with AsyncExitStack() as stack:
        await receive()
        try:
            for app in (gateway, streams, health):
                await stack.enter_async_context(app.router.lifespan_context(app))
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """A Django page, with a request id in its logs and on its response."""
    identifier = request_id()
    current_request_id.set(identifier)

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            ending = [CLOSE] if stopping.is_on else []
            message["headers"] = [*message.get("headers", []), (b"x-request-id", identifier.encode()), *ending]
        await send(message)

    await pages(dict(scope), receive, send_with_id)  # type: ignore[arg-type]  # Django types ASGI more narrowly


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    path: str = scope["path"]
    if path == "/v1" or path.startswith("/v1/"):
        await gateway(scope, receive, send)
    elif path.startswith("/stream/"):
        await streams(scope, receive, send)
    elif path in ("/livez", "/readyz", "/metrics"):
        await health(scope, receive, send)
    else:
        await page(scope, receive, send)

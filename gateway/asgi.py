"""The `/v1` application. Mounted by `portal.asgi`; alone it is `uvicorn gateway.asgi:application`."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import django
import orjson
import structlog
from django.apps import apps
from django.conf import settings
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

if not apps.ready:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup(set_prefix=False)

from batches.routes import ROUTES as ABOUT_FILES
from batches.routes import View as ViewOfFiles
from common.context import current_origin, current_request_id
from common.errors import (
    ApiError,
    EndpointNotAllowedError,
    InternalError,
    MethodNotAllowedError,
    RestartingError,
    RevokedKeyError,
    UnknownRouteError,
)
from common.stopping import stopping
from common.upkeep import keep_running, stop
from gateway.authentication import authenticate
from gateway.files import FilesApi
from gateway.models import described, listing
from gateway.organization import OrganizationApi
from gateway.relay import relay
from gateway.uploads import form
from gateway.wire import ClientGoneError, Exchange, WhileClientListens
from inference.endpoints import ENDPOINTS, Endpoint
from inference.shapes import ShapeOfErrors
from usage import metrics
from usage.calls import MeteredCalls
from usage.organization.routes import ROUTES, View
from usage.policies import Caller, Policies

log = structlog.get_logger(__name__)

# A key's running streams end this long after it was revoked, and a look-up later.
REVOCATION_SECONDS = 2.0
# A call whose body took longer to come is asked anew whose it is.
LONG_SECONDS = 0.5

GARBAGE_LOOKED_FOR_AT = 10_000

Handler = Callable[[Exchange], Awaitable[None]]


class Gateway:
    """What the endpoints share: the metered calls and the policies of this process, and the threads for reports."""

    calls: MeteredCalls
    policies: Policies
    organization: OrganizationApi
    files: FilesApi

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Open the connections when the server starts, settle and close when it stops."""
        self.calls = MeteredCalls()
        await self.calls.start()
        self.policies = Policies(self.calls.link)
        self.policies.start()
        self.organization = OrganizationApi()
        self.files = FilesApi()
        watch = keep_running(self._end_calls_of_revoked_keys, name="revocations")
        # What is loaded by now stays: looking through it for garbage would hold up every call for a tenth of a second.
        # Calls under way are no garbage either, and nearly all of what they leave is freed without being looked for.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_LOOKED_FOR_AT)
        try:
            with stopping.on_signals(), stopping.telling(self._end_calls_in_time):
                yield
        finally:
            await stop(watch)
            self.files.close()
            await self.policies.close()
            await self.calls.close()

    async def _end_calls_of_revoked_keys(self) -> None:
        while True:
            await asyncio.sleep(REVOCATION_SECONDS)
            for digest in self.calls.secrets_in_use():
                if not await self.policies.is_usable(digest):
                    self.calls.end_calls(RevokedKeyError(), of=digest)

    def _end_calls_in_time(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(settings.DRAIN_SECONDS, self.calls.end_calls, RestartingError())

    async def _caller(self, exchange: Exchange, *, using: str | None = None) -> Caller:
        """Who calls; with `using`, a key that may not use this endpoint is refused."""
        caller = await authenticate(exchange.headers, self.policies, address=exchange.origin.address)
        exchange.organization_id = caller.organization_id
        if using is not None and not caller.may_use_endpoint(using):
            raise EndpointNotAllowedError(using)
        return caller

    def relayed(self, endpoint: Endpoint) -> Handler:
        """The handler of an endpoint that an inference server answers."""

        async def handle(exchange: Exchange) -> None:
            caller = await self._caller(exchange, using=endpoint.path)
            body = await (form(exchange, endpoint.files) if endpoint.takes_form else exchange.json())
            if exchange.seconds > LONG_SECONDS:
                # Its body may have come for an hour: what was revoked or changed meanwhile holds for this call, too.
                caller = await self._caller(exchange, using=endpoint.path)
            with WhileClientListens(exchange.receive):
                answer = await self.calls.open(caller=caller, endpoint=endpoint.path, body=body, request_id=exchange.id)
                await relay(exchange, answer)

        return handle

    async def models(self, exchange: Exchange) -> None:
        """List the models that the key may use."""
        caller = await self._caller(exchange)
        allowed = [model for model in self.calls.routes.models if caller.may_use_model(model.name)]
        await exchange.send_json(200, orjson.dumps(listing(allowed)), headers={})

    async def model(self, exchange: Exchange) -> None:
        """Describe one model. Its name may have slashes in it."""
        caller = await self._caller(exchange)
        model = await self.calls.find_model(caller, exchange.path_params["name"])
        await exchange.send_json(200, orjson.dumps(described(model)), headers=model.notices)

    def managed(self, view: View) -> Handler:
        """The handler of a view that management keys open."""

        async def handle(exchange: Exchange) -> None:
            await exchange.send_json(200, await self.organization.answer(view, exchange), headers={})

        return handle

    def about_files(self, path: str, view: ViewOfFiles) -> Handler:
        """The handler of a view of files or batches."""

        async def handle(exchange: Exchange) -> None:
            caller = await self._caller(exchange, using=path.partition("/")[0])
            await exchange.send_json(200, await self.files.answer(view, exchange, caller), headers={})

        return handle

    async def upload(self, exchange: Exchange) -> None:
        """Store a file."""
        caller = await self._caller(exchange, using="files")
        by_now = partial(self._caller, exchange, using="files")
        await exchange.send_json(200, await self.files.upload(exchange, caller, by_now), headers={})

    async def download(self, exchange: Exchange) -> None:
        """Send what is in a file."""
        caller = await self._caller(exchange, using="files")
        await self.files.download(exchange, caller)


class Answering:
    """An ASGI application that runs the handler of a method, and turns what it raises into the error of an API."""

    def __init__(self, handlers: Mapping[str, Handler], shape_of_errors: ShapeOfErrors = ApiError.body) -> None:
        self._handlers = handlers
        self._shape_of_errors = shape_of_errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, shape_of_errors=self._shape_of_errors)
        current_request_id.set(exchange.id)
        current_origin.set(exchange.origin)
        try:
            handler = self._handlers.get(exchange.method)
            if handler is None:
                raise MethodNotAllowedError(exchange.method, exchange.path, self._handlers)
            await handler(exchange)
        except ApiError as error:
            metrics.count_error(error.status)
            if exchange.has_begun:
                # Bytes that are no events hold no error: the server, which misses their end, cuts the connection.
                log.warning("answer_broke_off", path=exchange.path, code=error.code)
                return
            await exchange.send_error(error)
        except (ClientGoneError, asyncio.CancelledError):
            # Whatever ran was closed and settled on the way here. Nobody listens, so nothing is said.
            log.info("client_gone", path=exchange.path)
        except Exception:
            log.exception("unexpected_error", path=exchange.path)
            metrics.count_error(InternalError.status)
            if exchange.has_begun:
                raise
            await exchange.send_error(InternalError(exchange.id))


async def no_such_route(exchange: Exchange) -> None:
    """Paths not in the table do not exist."""
    raise UnknownRouteError(exchange.method, exchange.path)


async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a path that does not exist, whatever the method."""
    if scope["type"] == "http":
        await Answering({scope["method"]: no_such_route})(scope, receive, send)


async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request: one to a path in which nothing is to be found without trying each route in turn."""
    endpoint = relays.get(scope["path"]) if scope["type"] == "http" else None
    await (endpoint or application.router)(scope, receive, send)


gateway = Gateway()
stored: dict[str, dict[str, Handler]] = {
    path: {method: gateway.about_files(path, view) for method, view in views.items()}
    for path, views in ABOUT_FILES.items()
}
stored["files"]["POST"] = gateway.upload
stored["files/{file_id}/content"] = {"GET": gateway.download}
relays = {
    f"/v1/{path}": Answering({"POST": gateway.relayed(entry)}, entry.shape_of_errors)
    for path, entry in ENDPOINTS.items()
}
routes = [
    *(Route(path, endpoint) for path, endpoint in relays.items()),
    Route("/v1/models", Answering({"GET": gateway.models})),
    Route("/v1/models/{name:path}", Answering({"GET": gateway.model})),
    *(Route(f"/v1/organization/{path}", Answering({"GET": gateway.managed(view)})) for path, view in ROUTES.items()),
    *(Route(f"/v1/{path}", Answering(handlers)) for path, handlers in stored.items()),
]
application = Starlette(routes=routes, lifespan=gateway.lifespan)
application.router.redirect_slashes = False
# Every handler turns its own exceptions into answers: Starlette's layers for that would find nothing to do.
application.middleware_stack = dispatch
application.router.default = unknown

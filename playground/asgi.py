"""`/stream/runs/{id}`: a run as it is written, over server-sent events, outside Django.

Opened with a ticket that a page gave, so that following takes no session look-up. A browser that comes back sends the
id of the last event it saw and gets the rest. Hanging up is not stopping.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager

import orjson
from django.db import DatabaseError, InterfaceError, close_old_connections
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from common.stopping import stopping
from playground import tickets
from playground.following import BEGINNING, Hub, position
from playground.models import Run
from playground.streams import utf16_length
from playground.tickets import Ticket

# Proxies cut what is silent for a minute, and some servers notice a hang-up only when they write.
PING_SECONDS = 12.0
# A browser that was let go comes back by itself with the id of the last event it saw.
LONGEST_SECONDS = 900.0
RETRY_MILLISECONDS = 1000
NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}
HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "Content-Encoding": "identity",
    "X-Accel-Buffering": "no",
    **NO_SNIFFING,
}

_reads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="run-rows")


def frame(event: str, data: str, *, identifier: str = "") -> bytes:
    """One server-sent event. The same entry gives the same bytes, whenever and wherever it is read."""
    head = f"id: {identifier}\n" if identifier else ""
    return f"{head}event: {event}\ndata: {data}\n\n".encode()


async def follow(request: Request) -> Response:
    run_id: str = request.path_params["run_id"]
    ticket = tickets.read(request.query_params.get("ticket", ""), run_id=run_id)
    if ticket is None:
        return _refusal(403, "This ticket is not valid, or no longer. Ask for a new one.")
    after = request.headers.get("Last-Event-ID") or request.query_params.get("after") or BEGINNING
    try:
        position(after)
    except ValueError:
        return _refusal(400, "Last-Event-ID is not an id of this stream.")
    return StreamingResponse(
        _frames(request.app.state.hub, ticket, after), media_type="text/event-stream", headers=HEADERS
    )


def _refusal(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"error": reason}, status_code=status, headers=NO_SNIFFING)


async def _frames(hub: Hub, ticket: Ticket, after: str) -> AsyncIterator[bytes]:
    until = time.monotonic() + LONGEST_SECONDS
    yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
    async with aclosing(hub.follow(ticket.run_id, after=after, patience=PING_SECONDS)) as batches:
        async for entries in batches:
            if entries:
                yield b"".join(frame(entry.event, entry.data, identifier=entry.id) for entry in entries)
                # Another process has the rest, for a browser that comes back with the id of its last event.
                if entries[-1].event == "end" or stopping.is_on:
                    return
                continue
            # Silence: the run waits or thinks, or it is over and its stream gone. The row knows.
            stored = await asyncio.get_running_loop().run_in_executor(_reads, _stored_end, ticket)
            if stored is not None:
                yield stored
                return
            if time.monotonic() > until or stopping.is_on:
                return
            yield b": ping\n\n"


def _stored_end(ticket: Ticket) -> bytes | None:
    """The output and the end of a run that is over, as frames; None while it is under way."""
    try:
        run = Run.objects.filter(public_id=ticket.run_id, user__public_id=ticket.user_id).first()
    except (DatabaseError, InterfaceError):
        return None
    finally:
        close_old_connections()
    if run is None:
        return frame("gone", "{}")
    if not run.is_finished:
        return None
    output = {"text": run.output, "reasoning": run.reasoning}
    end = {
        "status": run.status,
        "length": utf16_length(run.output),
        "reasoning_length": utf16_length(run.reasoning),
    }
    return frame("output", orjson.dumps(output).decode()) + frame("end", orjson.dumps(end).decode())


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.hub = Hub()
    await app.state.hub.start()
    try:
        yield
    finally:
        await app.state.hub.close()


application = Starlette(routes=[Route("/stream/runs/{run_id}", follow)], lifespan=_lifespan)

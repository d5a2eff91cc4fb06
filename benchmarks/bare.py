"""A relay of uvicorn and aiohttp without anything of ours: no keys, no limits, no choice of a server, no metering."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

UPSTREAM = "BENCHMARK_UPSTREAM"


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    """One client for all calls."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(os.environ[UPSTREAM], connector=connector, auto_decompress=False) as session:
        yield {"session": session}


async def relay(request: Request) -> Response:
    """Pass a body on, and its answer back."""
    body, session = await request.body(), request.state.session
    answer = await session.post(request.url.path, data=body, headers={"Content-Type": "application/json"})
    kind = answer.headers["Content-Type"]
    if answer.content_length is None:
        return StreamingResponse(answer.content.iter_any(), answer.status, media_type=kind)
    return Response(await answer.read(), answer.status, media_type=kind)


application = Starlette(routes=[Route("/v1/{path:path}", relay, methods=["POST"])], lifespan=lifespan)

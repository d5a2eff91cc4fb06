"""Stands in front of the gateway and keeps when each key asked for each model: clients do not tell of their retries."""

import re
import time
from collections import defaultdict
from urllib.parse import parse_qs

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MODEL = re.compile(rb'"model":\s*"([^"]+)"')


class Arrivals:
    """The application with one address more: `/arrivals?key=…&model=…` gives the moments, in seconds of some clock."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application
        self._seen: dict[tuple[str, str], list[float]] = defaultdict(list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
        elif scope["path"] == "/arrivals":
            asked = parse_qs(scope["query_string"].decode())
            seen = self._seen[asked["key"][0], asked["model"][0]]
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": orjson.dumps(seen)})
        else:
            headers = dict(scope["headers"])
            key = (headers.get(b"x-api-key") or headers.get(b"authorization", b"")).decode().removeprefix("Bearer ")
            await self._application(scope, self._listening(receive, key), send)

    def _listening(self, receive: Receive, key: str) -> Receive:
        async def listen() -> Message:
            message = await receive()
            if named := MODEL.search(message.get("body", b"")):
                self._seen[key, named[1].decode()].append(time.monotonic())
            return message

        return listen

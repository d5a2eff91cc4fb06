"""The metered call's answer, on its way to the client."""

from contextlib import aclosing

from gateway.wire import Exchange
from usage.answers import Answer


async def relay(exchange: Exchange, answer: Answer) -> None:
    """Send `answer`. If the client leaves or anything fails, the server's connection is closed and the call settled."""
    if answer.body is not None:
        await exchange.send_json(200, answer.body, headers=answer.headers, upstream=answer.upstream_seconds)
        return
    async with aclosing(answer):
        await exchange.begin(answer.content_type, headers=answer.headers, upstream=answer.upstream_seconds)
        async for frames in answer.frames():
            await exchange.send_frames(frames)
        await exchange.end()

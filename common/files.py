"""Files that are sent while they are written."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

from common.connections import give_back_connection


def streamed_file(parts: Iterator[bytes], *, content_type: str, name: str) -> StreamingHttpResponse:
    """The parts, none of which is empty, as a file that a browser saves under `name`."""
    response = StreamingHttpResponse(_asynchronous(parts), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


async def _asynchronous(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The parts one by one: from an ordinary iterator Django's ASGI handler would gather them all first."""
    while part := await sync_to_async(_following)(parts):
        yield part


def _following(parts: Iterator[bytes]) -> bytes:
    try:
        return next(parts, b"")
    finally:
        # Who reads slowly keeps no connection of the pool meanwhile.
        give_back_connection()

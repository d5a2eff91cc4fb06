"""Puts into the stream of usage what may not count: events that are there already, and one that nobody can read."""

from typing import Any, cast

from common import redis as servers
from usage.events import STREAM

COPIES = 500
UNREADABLE = {"e": "{"}


def main() -> None:
    """Print how many entries wait, without those."""
    client = servers.durable()
    waiting = client.xlen(STREAM)
    entries = cast("list[tuple[str, dict[Any, Any]]]", client.xrange(STREAM, count=COPIES))
    pipeline = client.pipeline(transaction=False)
    pipeline.xadd(STREAM, UNREADABLE)  # type: ignore[arg-type]
    for fields in (fields for _entry, fields in entries if fields != UNREADABLE):
        pipeline.xadd(STREAM, fields)
    pipeline.execute()
    print(waiting)

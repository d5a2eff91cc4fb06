"""Ports that no other process takes while a test relies on them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def refusing_port() -> Iterator[int]:
    """A loopback port that refuses every connection for as long as the context lasts.

    One that is merely free may be given to whatever runs beside: a server, or the near end of a connection.
    """
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])

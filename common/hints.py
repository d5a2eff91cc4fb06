"""Telling a worker at once what it would find by itself a little later."""

from collections.abc import Callable

import structlog
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)


def send_hint(send: Callable[[], object], *, about: str) -> None:
    """Send a message that may be lost: what it is about stands in the database, and a sweeper looks there.

    What somebody did must not fail because the broker is away.
    """
    try:
        send()
    except OperationalError:
        log.warning("hint_not_sent", about=about)

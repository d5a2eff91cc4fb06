"""Acts that happen at the same time."""

import threading
from collections.abc import Callable

from django.db import connection


def at_once(*acts: Callable[[], object]) -> list[Exception | None]:
    """What each act raised, if anything. Each has a thread and a connection of its own; they begin together."""
    barrier = threading.Barrier(len(acts))
    outcomes: list[Exception | None] = [None] * len(acts)

    def run(number: int, act: Callable[[], object]) -> None:
        barrier.wait()
        try:
            act()
        except Exception as error:
            outcomes[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes

"""Acts that happen at the same time."""

import threading
import time
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


# Who waits for a row does so for a transaction, which is of no database; the table it has opened is.
SOMEBODY_WAITS = """
SELECT EXISTS (
    SELECT FROM pg_locks AS waiting JOIN pg_locks AS held USING (pid) JOIN pg_database ON oid = held.database
    WHERE NOT waiting.granted AND datname = current_database()
)
"""


def somebody_waits() -> bool:
    """Whether some transaction waits for what another holds, in this database: other tests have theirs beside it."""
    with connection.cursor() as cursor:
        cursor.execute(SOMEBODY_WAITS)
        return bool(cursor.fetchone()[0])


def wait_until_somebody_waits() -> None:
    """Until `somebody_waits`."""
    deadline = time.monotonic() + 30
    while not somebody_waits():
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)

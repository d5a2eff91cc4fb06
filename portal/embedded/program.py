"""A process that is kept running: how it is started, when it serves, how it is asked to stop."""

import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any

# Below the range from which kernels take the near end of outgoing connections: a port that is free now
# is then still free when a service that died comes back to it.
PORTS = range(18000, 30000)


class CannotStart(Exception):  # noqa: N818 - it is said to a person, as one line that tells what to do
    """Something outside the portal is missing; the message is one line that says what to do."""


@dataclass(frozen=True)
class Account:
    """The user and group a process runs as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Program:
    """One process. `prepare` runs before every start and raises CannotStart when starting is pointless."""

    name: str
    command: Sequence[str]
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    prepare: Callable[[], None] = lambda: None
    is_ready: Callable[[], bool] = lambda: True
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 5.0

    def popen_arguments(self) -> dict[str, Any]:
        """Keyword arguments that every way of starting a process takes.

        Each program leads a session of its own: Ctrl-C at the terminal reaches only who asked for it, and whatever
        the program leaves behind can be ended as one group.
        """
        arguments: dict[str, Any] = {
            "cwd": self.cwd,
            "env": dict(self.environment),
            "start_new_session": True,
        }
        if self.account:
            arguments |= {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        return arguments


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without what would make our Python, PostgreSQL or Celery into somebody else's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PG", "CELERY_", "__PYVENV")) and name != "VIRTUAL_ENV"
    }
    return kept | {"PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1"} | extra


def free_port() -> int:
    """A loopback port that nothing listens on."""
    choose = SystemRandom()
    for _ in range(200):
        port = choose.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CannotStart("No free port on 127.0.0.1 between 18000 and 30000: stop what is using them.")

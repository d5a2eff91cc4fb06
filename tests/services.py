"""Real PostgreSQL and Redis for tests: `python -m tests.services [pytest arguments]` runs the suite over a fresh pair.

A store whose variable is set is used instead; give it to nobody else meanwhile.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from django.conf import LazySettings

from portal import env
from portal.embedded.postgres import Cluster
from portal.embedded.program import CannotStart, Program, free_port
from portal.embedded.redis import address, redis_program, tcp_address

START_SECONDS = 30.0
BROWSER_TESTS = "tests/e2e"
_PASSWORD = "of-a-store-that-lives-for-one-test-run"


class Running:
    """A program that serves; it can be killed, and started again in its place."""

    def __init__(self, program: Program, output: IO[bytes]) -> None:
        self._program, self._output = program, output
        self.start()

    def start(self) -> None:
        """Return once it serves. Raises CannotStart with its last words."""
        self._program.prepare()
        arguments = self._program.popen_arguments()
        self.process = subprocess.Popen(self._program.command, stdout=self._output, stderr=self._output, **arguments)
        deadline = time.monotonic() + START_SECONDS
        while not self._program.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self._output.seek(0)
                said = self._output.read().decode(errors="replace")[-2000:]
                self.stop()
                raise CannotStart(f"{self._program.name} did not start: {said}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and what it started as a crash does: nothing is written down, and nobody is told."""
        listed = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        for pid in (self.process.pid, *map(int, listed.stdout.split())):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it as it wants to be ended."""
        self.process.send_signal(self._program.stop_signal)
        try:
            self.process.wait(self._program.stop_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(program: Program) -> Iterator[Running]:
    """The program, started and serving; stopped at the end."""
    with tempfile.TemporaryFile() as output:
        started = Running(program, output)
        try:
            yield started
        finally:
            started.stop()


@contextmanager
def running_postgres(*, throwaway: bool = True) -> Iterator[tuple[str, Running]]:
    """The URL of a fresh PostgreSQL, and the server. One that is thrown away never waits for the disk."""
    with tempfile.TemporaryDirectory(prefix="lyceum-test-") as folder:
        cluster = Cluster(home=Path(folder) / "postgres", port=free_port(), password=_PASSWORD, throwaway=throwaway)
        try:
            with running(cluster.program()) as server:
                yield cluster.url, server
        finally:
            cluster.remove()


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a fresh PostgreSQL that never waits for the disk."""
    with running_postgres() as (url, _server):
        yield url


@contextmanager
def running_redis(*, durable: bool, is_by_socket: bool = False) -> Iterator[tuple[str, Running]]:
    """The URL of a fresh Redis, set up as the portal's durable or volatile one, and the server.

    The portal has its own by a Unix socket; a proxy that faults a connection needs a port.
    """
    with tempfile.TemporaryDirectory(prefix="lyceum-test-") as folder:
        port = free_port()
        # A pair of databases for each of the processes that tests run in.
        program = redis_program(
            name="redis", folder=Path(folder), port=port, password=_PASSWORD, durable=durable, databases=128
        )
        with running(program) as server:
            by_port = tcp_address(port=port, password=_PASSWORD)
            yield address(folder=Path(folder), port=port, password=_PASSWORD) if is_by_socket else by_port, server


@contextmanager
def redis(*, durable: bool) -> Iterator[str]:
    """The URL of a fresh Redis."""
    with running_redis(durable=durable) as (url, _server):
        yield url


@contextmanager
def durable_redis_to_kill(settings: "LazySettings") -> Iterator[Running]:
    """A fresh durable Redis that takes the place of the one all tests share."""
    from common import redis as servers

    shared = settings.REDIS_URL
    with running_redis(durable=True) as (settings.REDIS_URL, server):
        servers.durable.cache_clear()
        open_budgets()
        try:
            yield server
        finally:
            settings.REDIS_URL = shared
            servers.durable.cache_clear()


def open_budgets() -> None:
    """Have the durable Redis, which is new or was emptied, open budgets at once, as one that kept its data does."""
    from common import redis as servers
    from usage.admission import SINCE

    servers.durable().set(SINCE, 0)


@contextmanager
def durable_redis_of_its_own(settings: "LazySettings") -> Iterator[str]:
    """The URL of a fresh durable Redis that takes the place of the one all tests share."""
    with durable_redis_to_kill(settings):
        yield settings.REDIS_URL


def redis_folder() -> Path:
    """Where the durable Redis of the moment writes what it keeps."""
    from common import redis as servers

    return Path(cast("dict[str, str]", servers.durable().config_get("dir"))["dir"])


def keep_redis(kept: Path) -> None:
    """Copy what the durable Redis of the moment has written."""
    shutil.copytree(redis_folder(), kept, ignore=shutil.ignore_patterns("*.sock"))


def set_back(server: Running, kept: Path) -> None:
    """Kill the durable Redis of the moment, and start it with what it had written when `kept` was copied."""
    written = redis_folder()
    server.kill()
    shutil.rmtree(written)
    shutil.copytree(kept, written)
    server.start()


def main(arguments: list[str]) -> int:
    """Run pytest over the stores; the exit status of the first run that failed, or 0."""
    # The browser's tests run after the others: the browser's driver leaves an event loop running in its process, in
    # which no other test could start one. Each goes to whichever process is free, but for those of the whole portal,
    # which share the one that their process starts.
    others = ["-n", "2", "--dist", "loadfile", "--ignore", BROWSER_TESTS]
    runs = [arguments] if arguments else [others, ["-n", "2", "--dist", "loadgroup", BROWSER_TESTS]]
    with ExitStack() as parts:
        # All that is written goes below one folder, to be looked through at the end.
        tempfile.tempdir = parts.enter_context(tempfile.TemporaryDirectory(prefix="lyceum-tests-"))
        # A state folder of its own: beside a running portal, its runtime.json would name that portal's stores.
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TMPDIR": tempfile.tempdir,
            "LYCEUM_VAR": tempfile.mkdtemp(prefix="lyceum-var-"),
        }
        try:
            if not os.environ.get("DATABASE_URL"):
                environment["DATABASE_URL"] = parts.enter_context(postgres())
            if not os.environ.get("REDIS_URL"):
                environment["REDIS_URL"] = parts.enter_context(redis(durable=True))
                environment["REDIS_VOLATILE_URL"] = parts.enter_context(redis(durable=False))
        except CannotStart as reason:
            print(reason, file=sys.stderr)  # noqa: T201
            return 1
        statuses = [_run("pytest", "-p", "tests.skips", *run, environment=environment) for run in runs]
        statuses.append(_run("tests.left_behind", tempfile.tempdir, environment=environment))
    return next((status for status in statuses if status), 0)


def _run(*arguments: str, environment: dict[str, str]) -> int:
    command = [sys.executable, "-m", *arguments]
    process = subprocess.Popen(command, cwd=env.BASE_DIR, env=environment)
    while True:
        with suppress(KeyboardInterrupt):  # pytest hears Ctrl-C too, and says which tests had run
            return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

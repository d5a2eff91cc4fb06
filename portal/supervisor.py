"""Starts the portal and keeps it running: `python -m portal.supervisor`, which `make run` ends in.

It starts the embedded services that no variable replaces, brings the database up to date, then keeps web, workers and
beat alive: whatever dies is started again, for ever, a little later each time. Ctrl-C stops all of it in order.

Each process leads a session of its own. What a killed supervisor left behind is written down and ended by the next.
"""

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

from portal import env
from portal.embedded import model, redis, state
from portal.embedded.postgres import Cluster
from portal.embedded.program import CannotStart, Program, clean_environment, free_port

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
# A process that has lived this long was well: its next death starts the delays over.
WELL_SECONDS = 60.0
START_SECONDS = 60.0
_LOG_BYTES = 5_000_000
# Those who use a part before the part.
_STOPPED_TOGETHER = (
    ("web",),
    ("inference", "usage", "tasks", "beat"),
    ("model",),
    ("redis", "redis-volatile"),
    ("postgres",),
)


class Records:
    """The processes that run now, on disk, so that the next supervisor can end what a killed one left."""

    def __init__(self, var: Path) -> None:
        self._path, self._lock = var / "processes.json", threading.Lock()
        self._running: dict[str, list[str]] = {}

    def add(self, name: str, pid: int) -> None:
        with self._lock:
            self._running[name] = [str(pid), _started(pid)]
            self._write()

    def remove(self, name: str) -> None:
        with self._lock:
            if self._running.pop(name, None):
                self._write()

    def end_leftovers(self) -> None:
        """End every process that an earlier supervisor started and did not stop."""
        left = state.read_json(self._path)
        # A copied folder speaks of the original's processes.
        if left.get("folder") == str(self._path.parent):
            groups = [int(pid) for pid, started in left["running"].values() if _started(int(pid)) in {started, ""}]
            for ending, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 1.0)):
                groups = [group for group in groups if _signal_group(group, ending)]
                deadline = time.monotonic() + seconds
                while groups and time.monotonic() < deadline:
                    time.sleep(0.1)
                    groups = [group for group in groups if _signal_group(group, 0)]
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        # On a full disk the portal goes on; only a later clean-up would know less.
        with suppress(OSError):
            if self._running:
                state.write_json(self._path, {"folder": str(self._path.parent), "running": self._running})
            else:
                self._path.unlink(missing_ok=True)


def _started(pid: int) -> str:
    """When the process started, in whatever unit the system has; empty when there is none of that number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        if Path("/proc/self").exists():
            return ""
        listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return listed.stdout.strip()


def _signal_group(group: int, number: int) -> bool:
    """True when there was a process in the group to signal; 0 only asks."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class Child:
    """One process, kept running by a thread of its own."""

    def __init__(self, program: Program, *, records: Records, logs: Path, on_console: bool) -> None:
        self.program = program
        self._records, self._on_console = records, on_console
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=program.name, daemon=True)
        self._log = logging.Logger(program.name)
        self._log.addHandler(
            RotatingFileHandler(logs / f"{program.name}.log", maxBytes=_LOG_BYTES, backupCount=1, delay=True)
        )
        self.reason = ""
        """Why it could not be started the last time, for a person; empty once it runs."""

    def start(self) -> None:
        self._thread.start()

    def wait_until_ready(self) -> None:
        """Raises CannotStart when it does not serve in time."""
        deadline = time.monotonic() + START_SECONDS
        while not self.program.is_ready():
            if self.reason:
                raise CannotStart(self.reason)
            if time.monotonic() > deadline:
                raise CannotStart(f"{self.program.name} did not start; its log is {self._log_path()}.")
            if self._stopping.wait(0.05):
                return

    def ask_to_stop(self) -> None:
        self._stopping.set()
        if process := self._process:
            with suppress(ProcessLookupError):
                process.send_signal(self.program.stop_signal)

    def stop(self) -> None:
        """Wait for the end that was asked for, and force it when its time is over."""
        self._thread.join(self.program.stop_seconds)
        if self._thread.is_alive() and (process := self._process):
            _signal_group(process.pid, signal.SIGKILL)
            self._thread.join(2)

    def kill(self) -> None:
        if process := self._process:
            _signal_group(process.pid, signal.SIGKILL)

    def _log_path(self) -> str:
        handler = self._log.handlers[0]
        return handler.baseFilename if isinstance(handler, logging.FileHandler) else ""

    def _keep(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            ended = self._run_once()
            if self._stopping.is_set():
                break
            if time.monotonic() - began > WELL_SECONDS:
                delay = FIRST_DELAY_SECONDS
            say(f"{self.program.name} {ended}; starting it again in {delay:g} s")
            self._stopping.wait(delay)
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)

    def _run_once(self) -> str:
        """Run the process to its end and say how it ended."""
        try:
            self.program.prepare()
            process = subprocess.Popen(
                self.program.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                **self.program.popen_arguments(),
            )
        except (CannotStart, OSError) as error:
            self.reason = str(error)
            return f"could not be started: {error}"
        self._process, self.reason = process, ""
        self._records.add(self.program.name, process.pid)
        if self._stopping.is_set():  # asked while it was being started
            process.send_signal(self.program.stop_signal)
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        code = process.wait()
        # What the process started and left behind would hold its port, its queue or its output.
        _signal_group(process.pid, signal.SIGKILL)
        reader.join(2)
        self._records.remove(self.program.name)
        return f"was killed by signal {-code}" if code < 0 else f"ended with {code}"

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout  # noqa: S101 - asked for above
        with process.stdout as output:
            for line in output:
                text = line.decode(errors="replace").rstrip()
                self._log.info("%s", text)
                if self._on_console:
                    say(text, name=self.program.name)


def say(text: str, *, name: str = "lyceum") -> None:
    """One line to whoever is looking; the portal outlives a terminal that has gone."""
    with suppress(OSError, ValueError):
        print(f"{name:<9} | {text}", flush=True)


class Portal:
    """Everything `make run` starts, in the order it is started."""

    def __init__(self, *, var: Path, port: int) -> None:
        self._var, self._port = var, port
        self._records = Records(var)
        self._logs = var / "log"
        self._children: list[Child] = []
        self.stopping = threading.Event()

    def start(self) -> None:
        """Raises CannotStart when a part cannot be had, or the port."""
        self._records.end_leftovers()
        require_free(self._port)
        self._logs.mkdir(mode=0o700, exist_ok=True)
        services = self._services()
        for child in services:
            child.start()
        for child in services:
            if child.program.name != "model":  # it loads while the database is brought up to date
                child.wait_until_ready()
        if self.stopping.is_set():
            return
        self._prepare_database()
        for program in portal_programs(var=self._var, port=self._port):
            self._child(program, on_console=True).start()

    def wait_until_ready(self) -> None:
        """Returns once /readyz is green, or when stopping; tells what is missing if that takes long.

        Models are waited for where one is started here. Others are connected in the portal, by who gets in there first.
        """
        patience = time.monotonic() + 30
        while not self.stopping.is_set():
            wrong = missing_parts(self._port)
            if not wrong or (wrong.keys() == {"model"} and not _starts_a_model()):
                return
            if time.monotonic() > patience:
                say(f"not ready yet: {'; '.join(f'{name}: {detail}' for name, detail in wrong.items())}")
                patience = time.monotonic() + 30
            self.stopping.wait(0.2)

    def first_start(self) -> None:
        """Print what somebody who looks at the portal for the first time needs to know."""
        subprocess.run(
            [sys.executable, "manage.py", "first_start"], cwd=env.BASE_DIR, env=self._environment(), check=False
        )

    def stop(self) -> None:
        """Stop everything, those who use a part before the part."""
        for names in _STOPPED_TOGETHER:
            stage = [child for child in self._children if child.program.name in names]
            for child in stage:
                child.ask_to_stop()
            for child in stage:
                child.stop()

    def kill(self) -> None:
        """Stop everything at once; what was not written down yet is lost."""
        for child in self._children:
            child.kill()

    def _child(self, program: Program, *, on_console: bool = False) -> Child:
        child = Child(program, records=self._records, logs=self._logs, on_console=on_console)
        self._children.append(child)
        return child

    def _services(self) -> list[Child]:
        """The embedded services that are needed; their addresses go where settings look for them."""
        secrets = state.load_secrets(self._var)
        runtime = {name: secrets[name] for name in state.ROTATED}
        runtime["PORT"] = str(self._port)
        programs: list[Program] = []
        if not os.environ.get("DATABASE_URL"):
            cluster = Cluster(home=self._var / "postgres", port=free_port(), password=secrets["POSTGRES_PASSWORD"])
            programs.append(cluster.program())
            runtime["DATABASE_URL"] = cluster.url
        if not os.environ.get("REDIS_URL"):
            for name, variable in (("redis", "REDIS_URL"), ("redis-volatile", "REDIS_VOLATILE_URL")):
                port, password = free_port(), secrets["REDIS_PASSWORD"]
                programs.append(
                    redis.redis_program(
                        name=name, folder=self._var / name, port=port, password=password, durable=name == "redis"
                    )
                )
                runtime[variable] = redis.address(folder=self._var / name, port=port, password=password)
        if _starts_a_model():
            port = free_port()
            programs.append(model.model_program(port=port, key=secrets["EMBEDDED_MODEL_KEY"]))
            runtime["EMBEDDED_MODEL_URL"] = model.address(port)
            runtime["EMBEDDED_MODEL_KEY"] = secrets["EMBEDDED_MODEL_KEY"]
        state.write_json(self._var / "runtime.json", runtime)
        return [self._child(program) for program in programs]

    def _environment(self) -> dict[str, str]:
        return portal_environment(var=self._var, port=self._port)

    def _prepare_database(self) -> None:
        command = [sys.executable, "manage.py", "prepare_start"]
        done = subprocess.run(
            command, cwd=env.BASE_DIR, env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode and not self.stopping.is_set():
            log = self._logs / "prepare.log"
            log.write_text(done.stdout + done.stderr)
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise CannotStart(f"The database could not be prepared: {last} (all of it is in {log})")


def portal_environment(*, var: Path, port: int) -> dict[str, str]:
    """What the portal's own processes are told; the rest they read from runtime.json."""
    return clean_environment(DJANGO_SETTINGS_MODULE="portal.settings", LYCEUM_VAR=str(var), PORT=str(port))


def portal_programs(*, var: Path, port: int) -> Sequence[Program]:
    """Web, the three workers and beat."""
    # In a container root is usual, and the danger that Celery warns of is pickle, which is not accepted here.
    as_root = "ignore:You're running the worker with superuser privileges"
    environment = portal_environment(var=var, port=port) | {"PYTHONWARNINGS": as_root}
    schedule = var / "beat" / "schedule"
    celery = ("celery", "-A", "portal", "--quiet")

    # Whoever stops it here waits for it, and no other process takes the calls meanwhile.
    notice, drain = env.integer("DRAIN_NOTICE_SECONDS", 0), env.integer("DRAIN_SECONDS", 3)

    def program(name: str, *arguments: str, seconds: float, **variables: str) -> Program:
        return Program(
            name=name,
            command=[sys.executable, "-m", *arguments],
            cwd=env.BASE_DIR,
            environment=environment | variables,
            stop_seconds=seconds,
        )

    def worker(name: str, *arguments: str) -> Program:
        # Gossip and mingle are talk among workers that nothing here listens to.
        silent = ("--without-gossip", "--without-mingle")
        return program(name, *celery, "worker", "-n", f"{name}@%h", *arguments, *silent, seconds=8)

    schedule.parent.mkdir(mode=0o700, exist_ok=True)
    return [
        program(
            "web",
            *("uvicorn", "portal.asgi:application", "--host", "127.0.0.1", "--port", str(port)),
            *("--loop", "uvloop", "--http", "gateway.connections:Connection", "--lifespan", "on", "--backlog", "2048"),
            # What a proxy may claim, TRUSTED_PROXY_COUNT says; uvicorn would believe anybody on this machine.
            *("--timeout-graceful-shutdown", f"{drain + 1}", "--no-proxy-headers"),
            *("--no-access-log", "--no-server-header", "--log-level", "warning"),
            seconds=notice + drain + 3,
            DRAIN_NOTICE_SECONDS=f"{notice}",
            DRAIN_SECONDS=f"{drain}",
        ),
        # Webhooks wait for servers of strangers: here are threads enough, and they take few of them. Batches take none
        # for longer than it takes to begin.
        worker("inference", "-Q", "inference,batches,webhooks", "-P", "threads", "-c", "64"),
        # Apart from the rest, so that no outage of a mail or inference server delays metering. Threads, for its tasks
        # wait for Redis and PostgreSQL; three, so that neither a long ingest nor a long reaping silences the heartbeat.
        worker("usage", "-Q", "usage", "-P", "threads", "-c", "3"),
        worker("tasks", "-Q", "default", "-c", "2"),
        program("beat", *celery, "beat", "--schedule", str(schedule), "--pidfile", "", seconds=3),
    ]


def require_free(port: int) -> None:
    """Raises CannotStart when the web process could not listen on `port`."""
    try:
        with socket.socket() as caller:
            if caller.connect_ex(("127.0.0.1", port)) == 0:
                raise CannotStart(
                    f"Port {port} is taken: stop what uses it, or choose another one: PORT={port + 1} make run"
                )
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise CannotStart(f"Port {port} cannot be used ({error}): choose another one with PORT=… make run") from error


def _starts_a_model() -> bool:
    return os.environ.get("LYCEUM_MODEL") != "off"


def missing_parts(port: int) -> dict[str, str]:
    """The parts with which /readyz finds something wrong, and what; empty when there are none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = response.read()
        if response.status == http.HTTPStatus.OK:
            return {}
        parts = json.loads(body)["parts"]
        return {name: part["detail"] for name, part in parts.items() if not part["ok"]}
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return {"web": "does not answer"}
    finally:
        connection.close()


def main() -> int:
    """Run until told to stop; 1 with one line on standard error when that cannot even begin."""
    logging.raiseExceptions = False  # a full disk must not stop what is being logged
    try:
        return run()
    except CannotStart as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.strerror or error}: {error.filename or 'the disk'}", file=sys.stderr)
    return 1


def run() -> int:
    """Start, wait for the signal, stop."""
    var = env.var_dir()
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = env.integer("PORT", 8000) if os.environ.get("PORT") else 8000
    lock = state.Lock(var)
    lock.acquire()
    lock.announce(f"http://localhost:{port}, process {os.getpid()}")
    portal = Portal(var=var, port=port)

    def on_signal(number: int, frame: object) -> None:
        if portal.stopping.is_set() and number == signal.SIGINT:
            portal.kill()  # asked for a second time
        portal.stopping.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it stays ignored
        signal.signal(signal.SIGHUP, on_signal)
    try:
        portal.start()
        portal.wait_until_ready()
        if not portal.stopping.is_set():
            say(f"ready; Ctrl-C stops it; logs are in {var / 'log'}")
            say(f"http://localhost:{port}")
            if detail := missing_parts(port).get("model"):
                say(f"{detail}: docs/operators/backends.md tells how to connect one")
            portal.first_start()
        portal.stopping.wait()
    finally:
        if portal.stopping.is_set():
            say("stopping")
        portal.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

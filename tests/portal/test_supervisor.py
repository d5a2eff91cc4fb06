"""Keeping processes running, and ending all of them, with small programs in the place of the portal's."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from portal.celery import QUEUES
from portal.embedded import state
from portal.embedded.program import CannotStart, Program
from portal.supervisor import Child, Portal, Records, missing_parts, portal_programs, require_free

# Each start leaves a line, so that a test can count them.
COUNTS_ITS_STARTS = "import sys, time; open('starts', 'a').write('x'); print('hello', flush=True); "


class Stage:
    """A folder with children in it, all ended when the test is over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = Records(folder)
        self.children: list[Child] = []

    def child(self, code: str, **fields: object) -> Child:
        program = Program(
            name=f"child{len(self.children)}",
            command=[sys.executable, "-c", code],
            cwd=self.folder,
            environment=dict(os.environ),
            **fields,  # type: ignore[arg-type]
        )
        child = Child(program, records=self.records, logs=self.folder, on_console=False)
        self.children.append(child)
        child.start()
        return child

    @property
    def starts(self) -> int:
        path = self.folder / "starts"
        return len(path.read_text()) if path.exists() else 0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for child in made.children:
        child.ask_to_stop()
        child.kill()


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_works(stage: Stage) -> None:
    child = stage.child(COUNTS_ITS_STARTS + "time.sleep(60)")
    eventually(lambda: stage.starts == 1)
    child.ask_to_stop()
    child.stop()
    assert (stage.folder / "child0.log").read_text() == "hello\n"
    assert not (stage.folder / "processes.json").exists()


def test_what_dies_is_started_again(stage: Stage) -> None:
    stage.child(COUNTS_ITS_STARTS + "time.sleep(60)")
    eventually(lambda: stage.starts == 1)
    os.kill(running_pid(stage, "child0"), signal.SIGKILL)
    eventually(lambda: stage.starts == 2)


def test_what_keeps_dying_is_started_later_each_time(stage: Stage) -> None:
    stage.child("import time; print(time.monotonic(), file=open('moments', 'a'))")
    moments = stage.folder / "moments"
    eventually(lambda: moments.exists() and moments.read_text().count("\n") >= 3)
    first, second, third = (float(line) for line in moments.read_text().splitlines()[:3])
    assert second - first >= 0.5
    assert third - second >= 1


def test_what_cannot_be_started_says_why_and_is_tried_again(stage: Stage) -> None:
    tries: list[int] = []

    def prepare() -> None:
        tries.append(1)
        raise CannotStart("The cellar is flooded.")

    child = stage.child("", prepare=prepare, is_ready=lambda: False)
    with pytest.raises(CannotStart, match="cellar"):
        child.wait_until_ready()
    eventually(lambda: len(tries) > 1)


def test_what_ignores_the_signal_is_killed_when_its_time_is_over(stage: Stage) -> None:
    child = stage.child(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + COUNTS_ITS_STARTS + "time.sleep(60)",
        stop_seconds=0.3,
    )
    eventually(lambda: stage.starts == 1)
    pid = running_pid(stage, "child0")
    child.ask_to_stop()
    child.stop()
    assert not is_alive(pid)


def test_the_children_of_a_killed_child_end_with_it(stage: Stage) -> None:
    stage.child(
        "import subprocess, sys, time;"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "open('grandchild', 'a').write(f'{other.pid} '); time.sleep(60)"
    )
    eventually(lambda: (stage.folder / "grandchild").exists() and (stage.folder / "grandchild").read_text().strip())
    grandchild = int((stage.folder / "grandchild").read_text().split()[0])
    os.kill(running_pid(stage, "child0"), signal.SIGKILL)
    eventually(lambda: not is_alive(grandchild))


def test_the_next_supervisor_ends_what_a_killed_one_left(tmp_path: Path) -> None:
    starts_another = (
        "import subprocess, sys; command = [sys.executable, '-c', 'import time; time.sleep(60)'];"
        "print(subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True).pid)"
    )
    left = int(subprocess.run([sys.executable, "-c", starts_another], stdout=subprocess.PIPE, check=True).stdout)
    Records(tmp_path).add("web", left)
    assert is_alive(left)
    Records(tmp_path).end_leftovers()
    assert not is_alive(left)
    assert not (tmp_path / "processes.json").exists()


@pytest.mark.parametrize("change", [{"folder": "/the/original"}, {"running": {"web": ["pid", "long ago"]}}])
def test_processes_of_others_are_left_alone(tmp_path: Path, change: dict[str, object]) -> None:
    """The number may have gone to another process since; a copied folder speaks of the original's."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        Records(tmp_path).add("web", other.pid)
        path = tmp_path / "processes.json"
        text = json.dumps({**state.read_json(path), **change}).replace('"pid"', f'"{other.pid}"')
        path.write_text(text)
        Records(tmp_path).end_leftovers()
        assert is_alive(other.pid)
    finally:
        other.kill()
        other.wait()


def test_a_taken_port_is_told_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"Port {port} is taken: stop what uses it, or choose another one: PORT="):
            require_free(port)
    require_free(port)


def test_a_portal_that_is_not_there_is_missing_its_web() -> None:
    assert missing_parts(1) == {"web": "does not answer"}


@contextmanager
def portal_without(*names: str) -> Iterator[int]:
    """The port of something that answers as a portal does whose parts of these names do not work."""
    parts = {name: {"ok": False, "detail": "does not answer"} for name in names} | {"redis": {"ok": True, "detail": ""}}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "not ready", "parts": parts}).encode())

        def log_message(self, *_arguments: object) -> None:
            """Nothing: what it is asked is no news."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def test_models_of_others_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is to connect them gets the way in when the portal is ready."""
    with portal_without("model") as port:
        assert missing_parts(port) == {"model": "does not answer"}
        waits = threading.Thread(target=(started := Portal(var=tmp_path, port=port)).wait_until_ready)
        waits.start()
        waits.join(0.5)
        assert waits.is_alive()
        started.stopping.set()
        waits.join()
        monkeypatch.setenv("LYCEUM_MODEL", "off")
        Portal(var=tmp_path, port=port).wait_until_ready()


def test_every_queue_has_a_worker(tmp_path: Path) -> None:
    """What one queue waits for, a mail server for instance, holds up no other."""
    queues = {
        program.name: program.command[program.command.index("-Q") + 1]
        for program in portal_programs(var=tmp_path, port=8000)
        if "-Q" in program.command
    }
    assert queues == {"inference": "inference,batches,webhooks", "usage": "usage", "tasks": "default"}
    assert {queue for several in queues.values() for queue in several.split(",")} == set(QUEUES)


def running_pid(stage: Stage, name: str) -> int:
    eventually(lambda: name in state.read_json(stage.folder / "processes.json").get("running", {}))
    return int(state.read_json(stage.folder / "processes.json")["running"][name][0])

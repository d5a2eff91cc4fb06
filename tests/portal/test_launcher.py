"""lyceum.py: what it takes for set up, what it shuts out, and the one line it says when something is missing."""

import errno
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import lyceum
from portal.embedded.program import free_port

OUTPUTS = {
    "error: failed to write to file: No space left on device (os error 28)": "the disk is full",
    "npm error code ENOSPC": "the disk is full",
    "error: Request failed after 3 retries\n  cause: error sending request for url (https://a/b/)": "network",
    "npm error code EAI_AGAIN\nnpm error request to https://registry.npmjs.org/vite failed": "network",
    "NewConnectionError: Failed to establish a new connection\nERROR: No matching distribution found for uv": "network",
    "hint: You're on Linux (`musl`), but there are no wheels with a matching platform tag": "has no build for Python",
    "error: Hash mismatch for `x==1`": "not what its pinned hash says",
    "something\nthat nobody foresaw\n": "that nobody foresaw (all of it is in",
}


@pytest.mark.parametrize(("output", "said"), OUTPUTS.items(), ids=range(len(OUTPUTS)))
def test_it_works(output: str, said: str) -> None:
    line = lyceum.explain("installing Python packages", output)
    assert line.startswith("Installing Python packages failed: ")
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "The disk is full"), (errno.EACCES, "may not be written"), (errno.EIO, "Input/output error")],
)
def test_errors_of_the_system_become_one_line(number: int, said: str) -> None:
    line = lyceum.explain_os_error(OSError(number, os.strerror(number), "/somewhere"))
    assert said in line
    assert "\n" not in line


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_the_callers_oddities_are_shut_out_and_a_mirror_is_kept() -> None:
    with environment(
        PYTHONPATH="/x", VIRTUAL_ENV="/x", PIP_USER="1", NODE_ENV="production", PIP_INDEX_URL="https://mirror"
    ):
        kept = lyceum.environment()
    assert {"PYTHONPATH", "VIRTUAL_ENV", "PIP_USER", "NODE_ENV"}.isdisjoint(kept)
    assert kept["UV_DEFAULT_INDEX"] == "https://mirror"


def test_a_home_that_may_not_be_written_gets_its_caches_elsewhere() -> None:
    with environment(HOME="/nonexistent"):
        assert lyceum.environment()["UV_CACHE_DIR"].startswith(str(lyceum.VENV))


def test_a_digest_changes_with_a_name_and_with_a_content() -> None:
    one = lyceum.digest([lyceum.ROOT / "Makefile"])
    assert one == lyceum.digest([lyceum.ROOT / "Makefile"])
    assert one != lyceum.digest([lyceum.ROOT / "manage.py"])


def test_a_tree_leaves_out_what_was_installed(tmp_path: Path) -> None:
    for name in ("src/a.ts", "node_modules/b.js", "src/node_modules/c.js"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert lyceum.tree(tmp_path, but="node_modules") == [tmp_path / "src/a.ts"]


def start(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """lyceum.py in a process of its own."""
    command = [sys.executable, str(lyceum.ROOT / "lyceum.py"), *arguments]
    return subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=60
    )


def test_an_unknown_command_shows_the_known_ones() -> None:
    done = start("serve")
    assert done.returncode == 2
    assert "run|test|check|contract|mutants|bench|lock" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["run", "-h"], ["check", "--help"], ["lock", "--help"]]
)
def test_help_is_printed_and_nothing_starts(arguments: list[str], tmp_path: Path) -> None:
    done = start(*arguments, LYCEUM_VAR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python3 lyceum.py ")
    assert len(done.stdout.splitlines()) > 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["run", "check"])
def test_what_a_command_does_not_know_is_refused(command: str, tmp_path: Path) -> None:
    done = start(command, "--port", "8080", LYCEUM_VAR=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"lyceum.py {command} takes no arguments, and was given --port 8080.\n"


def test_a_taken_port_is_told_before_any_set_up(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = start("run", PORT=str(taken.getsockname()[1]), LYCEUM_VAR=str(tmp_path))
    assert done.returncode == 1
    assert re.fullmatch(
        r"Port \d+ is taken: stop what uses it, or choose another one: PORT=\d+ make run\n", done.stderr
    )
    assert done.stdout == ""


def test_a_port_that_is_no_number_is_told(tmp_path: Path) -> None:
    for port in ("http", "0", "65536", "80000"):
        refusal = start("run", PORT=port, LYCEUM_VAR=str(tmp_path)).stderr
        assert refusal == f"PORT must be a number from 1 to 65535, not {port!r}.\n"


def test_a_state_folder_that_may_not_be_made_is_told() -> None:
    done = start("run", LYCEUM_VAR="/proc/no/such/place")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_a_python_without_venv_is_told_what_to_install(tmp_path: Path) -> None:
    """Debian ships Python without ensurepip: a checkout on such a machine, made by hiding the module."""
    shutil.copy(lyceum.ROOT / "lyceum.py", tmp_path)
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'ensurepip' else find(name, package)\n"
    )
    command = [sys.executable, str(tmp_path / "lyceum.py"), "run"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PORT": str(free_port())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.endswith("apt install python3-venv\n")
    assert done.stderr.count("\n") == 1

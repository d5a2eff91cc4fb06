"""A portal started as its operator starts it, from nothing, on the embedded parts; and a browser to look at it with."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from lyceum import find_browser
from portal.embedded.program import free_port
from portal.env import BASE_DIR

# Long enough for a machine that does much else meanwhile.
START_SECONDS = 300
expect.set_options(timeout=30_000)


@dataclass(frozen=True)
class Stack:
    """A running portal: its address, its state folder, and what it said while it started."""

    url: str
    environment: dict[str, str]
    log: Path

    @property
    def setup_link(self) -> str:
        """The operator's one-time link, as the first start printed it."""
        match = re.search(rf"{self.url}/setup/\S+", self.log.read_text())
        assert match, self.log.read_text()
        return match[0]

    def run(self, *arguments: str) -> str:
        """What this command prints, run beside the portal with the project's Python."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=BASE_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an address of the portal."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as response:  # noqa: S310  our own address
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="lyceum-e2e-") as folder:
        port = free_port()
        # The stores of the other tests are theirs: this portal brings its own.
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = {**inherited, "LYCEUM_VAR": folder, "PORT": str(port)}
        log = Path(folder) / "output"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "portal.supervisor"], cwd=BASE_DIR, env=environment, stdout=output, stderr=output
            )
        started = Stack(f"http://localhost:{port}", environment, log)
        try:
            _wait_until_ready(started, process)
            yield started
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            # Started by root, the cluster lives elsewhere and this is a link to it.
            shutil.rmtree((Path(folder) / "postgres").resolve())


def _wait_until_ready(stack: Stack, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while "/setup/" not in stack.log.read_text():
        assert process.poll() is None, stack.log.read_text()
        assert time.monotonic() < deadline, stack.log.read_text()
        time.sleep(0.2)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    quiet = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"]
    return {**browser_type_launch_args, "executable_path": find_browser(), "args": [*quiet, "--disable-sync"]}

"""Programs that are measured: started, stopped, and how much processor and memory they take."""

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_SECONDS = 90.0


class CannotStartError(Exception):
    """A program ended, or did not answer in time; the message has its last words."""


@dataclass(frozen=True)
class Used:
    """What a program and its children have used: seconds of processor since they started, bytes of memory now."""

    cpu_seconds: float
    memory: int


@contextmanager
def process(
    command: list[str], environment: Mapping[str, str], probe: str, *, log: Path, folder: Path = ROOT
) -> Iterator[int]:
    """The id of a process that answers HTTP at `probe` before it is handed over, and is stopped at the end."""
    with log.open("wb") as output:
        running = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(probe):
            if running.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(errors="replace").split()
                raise CannotStartError(f"{Path(command[0]).name} did not start: {' '.join(words[-30:])}")
            time.sleep(0.05)
        yield running.pid
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def used(pid: int) -> Used | None:
    """What a process and its children have used so far; None where the system does not tell."""
    try:
        parents = {int(path.name): _fields(path) for path in Path("/proc").iterdir() if path.name.isdecimal()}
    except OSError:
        return None
    family = {pid}
    while more := {child for child, fields in parents.items() if fields and int(fields[1]) in family} - family:
        family |= more
    mine = [fields for one in family if (fields := parents.get(one))]
    if not mine:
        return None
    return Used(
        cpu_seconds=sum(int(fields[11]) + int(fields[12]) for fields in mine) / os.sysconf("SC_CLK_TCK"),
        memory=sum(int(fields[21]) for fields in mine) * os.sysconf("SC_PAGE_SIZE"),
    )


def _fields(path: Path) -> list[str]:
    """What /proc/…/stat says after the name, which may hold anything; nothing of a process that just ended."""
    try:
        return (path / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def answers(url: str) -> bool:
    """Whether anything answers HTTP there, if only that it has no such page."""
    try:
        urllib.request.urlopen(url, timeout=1)  # noqa: S310 - an address of ours
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True

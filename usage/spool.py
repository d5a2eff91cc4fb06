"""Where settlements wait on disk while Redis is away. What a call used is on disk before anything else can be lost.

Each process writes a file of its own and holds a lock on it. When Redis is back it replays the file; the file of a
process that died is replayed by whoever finds it unlocked.
"""

import asyncio
import contextlib
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import orjson
import structlog
from django.conf import settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Settlement:
    """The arguments of settle.lua, so that a call can be settled later and elsewhere."""

    keys: tuple[str, ...]
    args: tuple[str, ...]


def folder() -> Path:
    """Where spool files lie."""
    return Path(settings.VAR_DIR) / "spool"


class Spool:
    """One process's file. Many writers at once share one write to the disk."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._writing = asyncio.Lock()
        self._file: IO[bytes] | None = None

    async def append(self, settlement: Settlement) -> None:
        """Return once `settlement` is safe on the disk."""
        line = orjson.dumps(asdict(settlement)) + b"\n"
        self._waiting.append(line)
        async with self._writing:
            # Another writer may have taken this line along while this one waited.
            lines, self._waiting = self._waiting, []
            if lines:
                await asyncio.to_thread(self._write, lines)

    async def release(self) -> None:
        """Close the file and let go of its lock, so that `replay` takes it. Later lines go to a new one."""
        async with self._writing:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _write(self, lines: list[bytes]) -> None:
        if self._file is None:
            directory = folder()
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = directory / f"{uuid.uuid4().hex}.new"
            file = path.open("ab")
            path.chmod(0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            # Only now does it get a name that `replay` looks for: before, it would be taken for one left behind.
            path.rename(path.with_suffix(".jsonl"))
            self._file = file
        self._file.writelines(lines)
        self._file.flush()
        os.fsync(self._file.fileno())


def replay(settle: Callable[[Settlement], None]) -> int:
    """Settle everything in files that no process is writing, and delete each once it is done. Gives how many.

    Whatever `settle` raises ends the replay; the file stays and nothing is lost, since settling twice does no harm.
    """
    done = 0
    for path in sorted(folder().glob("*.jsonl")):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for settlement in _read(file):
                settle(settlement)
                done += 1
            path.unlink(missing_ok=True)
    return done


def waiting() -> int:
    """How many settlements wait on this machine's disk."""
    number = 0
    for path in folder().glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            number += sum(1 for _line in file)
    return number


def size() -> int:
    """How many bytes wait on this machine's disk."""
    number = 0
    for path in folder().glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            number += path.stat().st_size
    return number


def _read(file: IO[bytes]) -> Iterator[Settlement]:
    for line in file:
        try:
            fields = orjson.loads(line)
            yield Settlement(keys=tuple(fields["keys"]), args=tuple(fields["args"]))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            # Only a last line cut short by a power cut can be like this; its call was never answered.
            log.exception("spool_line_unreadable", file=file.name)

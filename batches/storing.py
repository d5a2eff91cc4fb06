"""Bytes on their way into the storage and out of it: uploads first, then whatever a batch writes."""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage

ENDING = ".upload"
FORGOTTEN_SECONDS = 24 * 3600


@dataclass
class Upload:
    """A form as it was sent: its file, which is on this machine's disk, and its other fields."""

    path: Path
    filename: str = ""
    size_bytes: int = 0
    fields: dict[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """The same for the same file under the same name with the same fields. Reads all of the file."""
        with self.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        said = json.dumps([self.filename, sorted(self.fields.items()), content])
        return hashlib.sha256(said.encode()).hexdigest()


class _Movable(File[bytes]):
    """A file that the storage may take as it is instead of copying it, when it is on the same disk."""

    def temporary_file_path(self) -> str:
        return str(self.name)


@contextmanager
def scratch() -> Iterator[IO[bytes]]:
    """A new file to write to. Whatever is still there at the end is removed."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=ENDING, delete=False) as file:
        try:
            yield file
        finally:
            Path(file.name).unlink(missing_ok=True)


def keep(path: Path, *, name: str) -> str:
    """Put a file into the storage, and say by what name it is there."""
    with path.open("rb") as file:
        return default_storage.save(name, _Movable(file, name=str(path)))


def opened(name: str) -> IO[bytes]:
    """What is in the storage by this name, to be read from its beginning."""
    file: IO[bytes] = default_storage.open(name)
    return file


def remove(name: str) -> None:
    default_storage.delete(name)


def sweep() -> None:
    """Remove from this machine what processes left that were killed in the middle of an upload."""
    before = time.time() - FORGOTTEN_SECONDS
    for path in _folder().glob(f"*{ENDING}"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()


def _folder() -> Path:
    return Path(settings.VAR_DIR) / "uploads"

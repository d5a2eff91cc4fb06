"""What the portal remembers on this machine: its folder, its secrets, and where its running parts listen."""

import base64
import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from portal.embedded.program import CannotStart


def write_private(path: Path, text: str) -> None:
    """Replace `path` in one step, readable by its owner only: a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """As `write_private`, in JSON."""
    write_private(path, json.dumps(content, indent=1))


def read_json(path: Path) -> dict[str, Any]:
    """What `path` holds; nothing when it is absent or was cut short."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _now() -> str:
    return str(int(time.time()))


# Made once; losing them signs everybody out, voids every key and makes stored credentials unreadable.
_SECRETS: Mapping[str, Callable[[], str]] = {
    "SECRET_KEY": lambda: secrets.token_urlsafe(48),
    "SECRET_KEY_FALLBACKS": lambda: "",
    "SECRET_KEY_CHANGED_AT": _now,
    "FIELD_ENCRYPTION_KEYS": _fernet_key,
    "KEY_PEPPERS": lambda: f"1:{secrets.token_urlsafe(32)}",
    "POSTGRES_PASSWORD": lambda: secrets.token_urlsafe(24),
    "REDIS_PASSWORD": lambda: secrets.token_urlsafe(24),
    "EMBEDDED_MODEL_KEY": lambda: secrets.token_urlsafe(24),
}


def secrets_path(var: Path) -> Path:
    """Where this installation keeps the secrets that it made."""
    return var / "secrets.json"


def load_secrets(var: Path) -> dict[str, str]:
    """The secrets of this installation; those it does not have yet are made and kept."""
    path = secrets_path(var)
    known = read_json(path)
    if path.exists() and not known:
        raise CannotStart(
            f"{path} is damaged: restore it from a backup, or remove {var} to start anew without its data."
        )
    missing = {name: make() for name, make in _SECRETS.items() if name not in known}
    if missing:
        known |= missing
        write_json(path, known)
    return known


ROTATED = ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "FIELD_ENCRYPTION_KEYS", "KEY_PEPPERS")


def with_new_secrets(known: Mapping[str, str]) -> dict[str, str]:
    """`known` with a new secret of each kind that can be rotated; the ones before are still accepted."""
    peppers = known["KEY_PEPPERS"].split(",")
    version = 1 + max(int(pepper.partition(":")[0]) for pepper in peppers)
    fallbacks = [known["SECRET_KEY"], *filter(None, known["SECRET_KEY_FALLBACKS"].split(","))]
    return {
        **known,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "SECRET_KEY_FALLBACKS": ",".join(fallbacks),
        "SECRET_KEY_CHANGED_AT": _now(),
        "FIELD_ENCRYPTION_KEYS": f"{_fernet_key()},{known['FIELD_ENCRYPTION_KEYS']}",
        "KEY_PEPPERS": ",".join([f"{version}:{secrets.token_urlsafe(32)}", *peppers]),
    }


class Lock:
    """Held by the one supervisor of a var folder for as long as it lives, however it ends."""

    def __init__(self, var: Path) -> None:
        self._path = var / "lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Raises CannotStart, naming the holder, when another supervisor runs on this folder."""
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CannotStart(f"Lyceum already runs from this folder: {file.read().strip() or 'starting'}.") from None
        self._file = file

    def announce(self, text: str) -> None:
        """Leave `text` for whoever finds the lock taken."""
        if self._file:
            self._file.truncate(0)
            self._file.write(text)
            self._file.flush()

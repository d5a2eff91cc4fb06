"""Typed readers of the environment.

A value that the environment does not set is taken from `runtime.json` in the state folder, where `make run` writes the
addresses and secrets of the parts it started; that is why `manage.py` works beside a running portal with nothing set.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis.connection import parse_url

from portal.embedded.state import load_secrets

BASE_DIR = Path(__file__).resolve().parent.parent

DEFAULTS: dict[str, str] = {}
"""Every variable that was read, with its default as text: the settings page of the manual is compared with it."""


def var_dir() -> Path:
    """The folder of everything this installation keeps on disk."""
    DEFAULTS.setdefault("LYCEUM_VAR", "var")
    return Path(os.environ.get("LYCEUM_VAR") or BASE_DIR / "var").resolve()


@cache
def _runtime() -> dict[str, str]:
    try:
        values = json.loads((var_dir() / "runtime.json").read_text())
    except (OSError, ValueError):
        return {}
    return {name: str(value) for name, value in values.items()}


def text(name: str, default: str = "", *, pair: str = "") -> str:
    """The variable as it stands; an empty one counts as not set.

    When the environment sets the variable `pair`, what `make run` wrote for this one belongs to another portal.
    """
    DEFAULTS[name] = default
    runtime = {} if os.environ.get(pair) else _runtime()
    return os.environ.get(name) or runtime.get(name) or default


def secret(name: str, *, make: bool) -> str:
    """A secret; with `make`, one that nobody set is made once and kept in the state folder, readable by its owner."""
    value = text(name)
    if value or not make:
        return value
    folder = var_dir()
    folder.mkdir(parents=True, exist_ok=True)
    return load_secrets(folder)[name]


def integer(name: str, default: int) -> int:
    """A whole number.

    Raises ValueError naming the variable when it holds anything else.
    """
    value = text(name, str(default))
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{name} must be a whole number, not {value!r}.") from None


def flag(name: str, default: bool) -> bool:
    """True for 1, true, yes and on; False for 0, false, no and off.

    Raises ValueError naming the variable when it holds anything else.
    """
    value = text(name, "true" if default else "false").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ValueError(f"{name} must be true or false, not {value!r}.")


def broker_address(redis_url: str) -> str:
    """The same Redis as Celery spells it: it has a form of its own for Unix sockets, and with TLS it would take any
    certificate if nothing is said of it, where everything else here asks for a good one.

    Raises ValueError when it is no address of a Redis.
    """
    parts: dict[str, Any] = parse_url(redis_url)  # type: ignore[no-untyped-call]
    if "path" not in parts:
        if not redis_url.startswith("rediss:") or "ssl_cert_reqs" in parts:
            return redis_url
        return f"{redis_url}{'&' if '?' in redis_url else '?'}ssl_cert_reqs=required"
    login = ":".join(quote(parts.get(name) or "", safe="") for name in ("username", "password"))
    return f"redis+socket://{login}@{quote(parts['path'])}?virtual_host={parts.get('db', 0)}"


def listing(name: str) -> list[str]:
    """A comma-separated list; empty when not set."""
    return [item.strip() for item in text(name).split(",") if item.strip()]

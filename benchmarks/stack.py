"""The stack under measurement: fresh stores, the fake inference server, one gateway process, nginx as a plain proxy."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from portal.embedded.program import free_port
from tests.services import postgres, redis

ROOT = Path(__file__).parents[1]
SECRETS = {
    "SECRET_KEY": "a-secret-key-of-the-benchmarks-that-protects-nothing",
    "FIELD_ENCRYPTION_KEYS": "YS1rZXktb2YtdGhlLWJlbmNobWFya3Mtbm8tZ3VhcmQ=",
    "KEY_PEPPERS": "1:a-pepper-of-the-benchmarks-that-protects-nothing",
}
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    upstream server {{ server 127.0.0.1:{fake}; keepalive 256; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_buffering off;
        location / {{ proxy_pass http://server; }}
    }}
}}
"""


@dataclass(frozen=True)
class Stack:
    """Base URLs of what is measured; `nginx` is None where it is not installed."""

    fake: str
    gateway: str
    nginx: str | None
    secret: str
    environment: dict[str, str]
    gateway_pid: int


@contextmanager
def process(command: list[str], environment: dict[str, str], probe: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that answers HTTP at `probe` before it is handed over, and is stopped at the end."""
    running = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + 60
        while not _answers(probe):
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start")
            time.sleep(0.05)
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1)  # noqa: S310 - an address of ours
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def stack() -> Iterator[Stack]:
    """Everything started; stopped at the end."""
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="lyceum-bench-")))
        environment = {
            **os.environ,
            **SECRETS,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "LYCEUM_VAR": str(folder),
            "DATABASE_URL": parts.enter_context(postgres()),
            "REDIS_URL": parts.enter_context(redis(durable=True)),
            "REDIS_VOLATILE_URL": parts.enter_context(redis(durable=False)),
            "LOG_LEVEL": "WARNING",
        }
        fake, gateway, proxy = free_port(), free_port(), free_port()
        command = [sys.executable, "-m", "tests.fakes.inference_server", "--port", str(fake)]
        parts.enter_context(process(command, environment, f"http://127.0.0.1:{fake}/v1/models"))
        manage(environment, "migrate", "-v", "0")
        manage(environment, "add_backend", "fake", f"http://127.0.0.1:{fake}/v1", "--kind", "vllm")
        secret = manage(environment, "issue_key", "--email", "bench@example.com").strip()
        command = [
            *(sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", str(gateway), "--backlog", "4096"),
            *(
                "--loop",
                "uvloop",
                "--http",
                "gateway.connections:Connection",
                "--no-access-log",
                "--log-level",
                "warning",
            ),
        ]
        web = parts.enter_context(process(command, environment, f"http://127.0.0.1:{gateway}/livez"))
        yield Stack(
            fake=f"http://127.0.0.1:{fake}/v1",
            gateway=f"http://127.0.0.1:{gateway}/v1",
            nginx=_nginx(parts, folder, fake=fake, port=proxy),
            secret=secret,
            environment=environment,
            gateway_pid=web.pid,
        )


def manage(environment: dict[str, str], *arguments: str) -> str:
    """What a management command prints."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def _nginx(parts: ExitStack, folder: Path, *, fake: int, port: int) -> str | None:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        return None
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, fake=fake, port=port))
    command = [program, "-c", str(configuration), "-p", str(folder), "-e", str(folder / "error.log")]
    parts.enter_context(process(command, dict(os.environ), f"http://127.0.0.1:{port}/v1/models"))
    return f"http://127.0.0.1:{port}/v1"

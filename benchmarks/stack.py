"""The portal under measurement: fresh stores, the fake inference server, one web process with everything on."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.processes import ROOT, process
from portal.embedded.program import free_port
from tests.services import postgres, redis

SECRETS = {
    "SECRET_KEY": "a-secret-key-of-the-benchmarks-that-protects-nothing",
    "FIELD_ENCRYPTION_KEYS": "YS1rZXktb2YtdGhlLWJlbmNobWFya3Mtbm8tZ3VhcmQ=",
    "KEY_PEPPERS": "1:a-pepper-of-the-benchmarks-that-protects-nothing",
}
CHAT, LARGE, STREAM = "fake-chat", "fake-large", "fake-stream"
CHUNKS_PER_SECOND = 20
STREAM_SECONDS = 90
# By model, since some of the gateways that are measured pass no unknown fields on.
SCRIPTS = {
    LARGE: {"prompt_tokens": 200_000},
    STREAM: {"tokens": CHUNKS_PER_SECOND * STREAM_SECONDS, "rate": CHUNKS_PER_SECOND, "stamped": True},
}


@dataclass(frozen=True)
class Stack:
    """Where the fake server and the portal answer, and what else measuring them takes."""

    fake_port: int
    portal_port: int
    portal_pid: int
    secret: str
    environment: dict[str, str]
    folder: Path

    def shell(self, module: str) -> str:
        """What the `main` of a module prints, with Django set up."""
        return manage(self.environment, "shell", "-v", "0", "-c", f"from {module} import main; main()").strip()


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
        fake, portal = free_port(), free_port()
        command = [sys.executable, "-m", "tests.fakes.inference_server", "--port", str(fake)]
        command += ["--scripts", orjson.dumps(SCRIPTS).decode()]
        parts.enter_context(process(command, environment, f"http://127.0.0.1:{fake}/ledger", log=folder / "fake.log"))
        manage(environment, "migrate", "-v", "0")
        manage(environment, "add_backend", "fake", f"http://127.0.0.1:{fake}/v1", "--kind", "vllm")
        command = [
            *(sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", str(portal), "--backlog", "4096"),
            *("--loop", "uvloop", "--http", "gateway.connections:Connection", "--no-access-log"),
            *("--log-level", "warning"),
        ]
        secret = manage(environment, "shell", "-v", "0", "-c", "from benchmarks.caller import main; main()").strip()
        pid = parts.enter_context(
            process(command, environment, f"http://127.0.0.1:{portal}/livez", log=folder / "portal.log")
        )
        yield Stack(fake, portal, pid, secret, environment, folder)


def manage(environment: dict[str, str], *arguments: str) -> str:
    """What a management command prints."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

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

from benchmarks.processes import ROOT, answers, process
from portal.embedded.program import Program, free_port
from tests.services import Running, running, running_postgres, running_redis

SECRETS = {
    "SECRET_KEY": "a-secret-key-of-the-benchmarks-that-protects-nothing",
    "FIELD_ENCRYPTION_KEYS": "YS1rZXktb2YtdGhlLWJlbmNobWFya3Mtbm8tZ3VhcmQ=",
    "KEY_PEPPERS": "1:a-pepper-of-the-benchmarks-that-protects-nothing",
}
# What a token costs, coming in and going out.
INPUT_NANO, OUTPUT_NANO = 150, 600
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
    """Where the fake server and the portal answer, what they run on, and what else measuring them takes."""

    fake_port: int
    portal_port: int
    portal: Running
    postgres: Running
    redis: Running
    secret: str
    environment: dict[str, str]
    folder: Path

    @property
    def portal_pid(self) -> int:
        return self.portal.process.pid

    def shell(self, module: str, *given: object) -> str:
        """What the `main` of a module prints, with Django set up."""
        return manage(
            self.environment, "shell", "-v", "0", "-c", f"from {module} import main; main(*{given!r})"
        ).strip()


@contextmanager
def stack(*, is_for_faults: bool = False) -> Iterator[Stack]:
    """Everything started; stopped at the end. For faults, PostgreSQL keeps what it was told as it does in earnest, and
    the fake server keeps every call."""
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="lyceum-bench-")))
        database, postgres = parts.enter_context(running_postgres(throwaway=not is_for_faults))
        durable, redis = parts.enter_context(running_redis(durable=True, is_by_socket=True))
        volatile, _server = parts.enter_context(running_redis(durable=False, is_by_socket=True))
        environment = {
            **os.environ,
            **SECRETS,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "LYCEUM_VAR": str(folder),
            "DATABASE_URL": database,
            "REDIS_URL": durable,
            "REDIS_VOLATILE_URL": volatile,
            "LOG_LEVEL": "WARNING",
        }
        fake, port = free_port(), free_port()
        command = [sys.executable, "-m", "tests.fakes.inference_server", "--port", str(fake)]
        command += ["--scripts", orjson.dumps(SCRIPTS).decode(), *(["--keep-calls"] if is_for_faults else [])]
        parts.enter_context(process(command, environment, f"http://127.0.0.1:{fake}/ledger", log=folder / "fake.log"))
        manage(environment, "migrate", "-v", "0")
        manage(environment, "add_backend", "fake", f"http://127.0.0.1:{fake}/v1", "--kind", "vllm")
        secret = manage(environment, "shell", "-v", "0", "-c", "from benchmarks.caller import main; main()").strip()
        program = Program(
            name="portal",
            command=[
                *(sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", str(port)),
                *("--backlog", "4096", "--loop", "uvloop", "--http", "gateway.connections:Connection"),
                *("--no-access-log", "--log-level", "warning"),
            ],
            cwd=ROOT,
            environment=environment,
            is_ready=lambda: answers(f"http://127.0.0.1:{port}/livez"),
            stop_seconds=10.0,
        )
        portal = parts.enter_context(running(program))
        yield Stack(fake, port, portal, postgres, redis, secret, environment, folder)


def manage(environment: dict[str, str], *arguments: str) -> str:
    """What a management command prints."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

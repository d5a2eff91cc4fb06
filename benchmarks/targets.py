"""What is measured beside each other, all in front of the same fake server: one web process each.

The peers are as their own documentation tunes them, without limits and metering, and are installed for this alone. One
that cannot be had on this machine is left out, and the page says so.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import lyceum
from benchmarks import bare as bare_relay
from benchmarks.processes import ROOT, CannotStartError, process
from benchmarks.stack import CHAT, LARGE, STREAM, Stack
from portal.embedded.program import free_port

NODE = ROOT / "benchmarks" / "node"
LITELLM_PINS = ROOT / "requirements-peer-litellm.txt"
ROUTER_PINS = ROOT / "requirements-peer-vllm.txt"
# The commit is the hash of all that it holds.
ROUTER_SOURCE, ROUTER_COMMIT = (
    "https://github.com/vllm-project/production-stack",
    "a6c01db05f65f556235413ba8dbcfb0c01132fff",
)
FAKE, NGINX, OURS, BARE, PORTKEY, LITELLM, ROUTER = (
    "fake server alone",
    "nginx",
    "Lyceum",
    "its libraries alone",
    "Portkey",
    "LiteLLM",
    "vLLM router",
)

NGINX_CONFIGURATION = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    keepalive_requests 1000000000; client_max_body_size 32m; client_body_buffer_size 2m;
    upstream server {{ server 127.0.0.1:{fake}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_buffering off;
        location / {{ proxy_pass http://server; }}
    }}
}}
"""


class UnavailableError(Exception):
    """This machine does not have it; the message says what is missing."""


@dataclass(frozen=True)
class Target:
    """Something that answers as the fake server does. `pid` is None for what is no gateway."""

    name: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"


def fake(stack: Stack) -> Iterator[Target]:
    """Nothing in between."""
    yield Target(FAKE, stack.fake_port)


def nginx(stack: Stack) -> Iterator[Target]:
    """A proxy that does nothing."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise UnavailableError("nginx is not on PATH")
    folder, port = stack.folder, free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX_CONFIGURATION.format(folder=folder, fake=stack.fake_port, port=port))
    command = [program, "-c", str(configuration), "-p", str(folder), "-e", str(folder / "error.log")]
    with _started(stack, "nginx", command, port, "/v1/models") as pid:
        yield Target(NGINX, port, pid=pid)


def ours(stack: Stack) -> Iterator[Target]:
    """The portal's own gateway, with everything on."""
    yield Target(OURS, stack.portal_port, {"Authorization": f"Bearer {stack.secret}"}, stack.portal_pid)


def bare(stack: Stack) -> Iterator[Target]:
    """The server and the client that ours is made with, and nothing in between: what it could cost at the least."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.bare:application", "--port", str(port)]
    command += ["--app-dir", str(ROOT), "--loop", "uvloop", "--no-access-log", "--log-level", "warning"]
    with _started(
        stack, "bare", command, port, "/", {bare_relay.UPSTREAM: f"http://127.0.0.1:{stack.fake_port}"}
    ) as pid:
        yield Target(BARE, port, pid=pid)


def portkey(stack: Stack) -> Iterator[Target]:
    """Portkey's gateway for Node.js, without its console.

    package.json holds it to the @hono/node-server of its own repository: with a newer one it answers streams with 500.
    """
    lyceum.set_up_node_apart(NODE)
    port, program = free_port(), NODE / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    command = [str(lyceum.find_npm()[1] / "node"), str(program), f"--port={port}", "--headless"]
    headers = {
        "Authorization": "Bearer none",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{stack.fake_port}/v1",
    }
    with _started(stack, "portkey", command, port, "/", {"NODE_ENV": "production"}) as pid:
        yield Target(PORTKEY, port, headers, pid)


def litellm(stack: Stack) -> Iterator[Target]:
    """LiteLLM's proxy as its page on production has it: one uvicorn worker, no database, errors alone in the log."""
    python = lyceum.set_up_apart(LITELLM_PINS)
    key, port = "sk-of-the-benchmarks", free_port()
    upstream = {"api_base": f"http://127.0.0.1:{stack.fake_port}/v1", "api_key": "none"}
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", **upstream}}
        for name in (CHAT, LARGE, STREAM)
    ]
    settings = {
        "model_list": models,
        "general_settings": {"master_key": key},
        "litellm_settings": {"request_timeout": 600, "set_verbose": False},
    }
    configuration = stack.folder / "litellm.yaml"
    # JSON is YAML.
    configuration.write_text(json.dumps(settings))
    command = [str(python.with_name("litellm")), "--config", str(configuration), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1"]
    # Its list of prices comes with it; by itself it would ask the network for a newer one.
    switches = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with _started(stack, "litellm", command, port, "/health/liveliness", switches) as pid:
        yield Target(LITELLM, port, {"Authorization": f"Bearer {key}"}, pid)


def router(stack: Stack) -> Iterator[Target]:
    """The router of vLLM's production-stack, which is in Python, with a fixed list of one server."""
    python = lyceum.set_up_apart(ROUTER_PINS)
    source, port = python.parents[1] / "source", free_port()
    _fetch(source)
    upstream = f"http://127.0.0.1:{stack.fake_port}"
    command = [
        *(str(python), "-m", "vllm_router.app", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"),
        *("--service-discovery", "static", "--routing-logic", "roundrobin"),
        *("--static-backends", ",".join([upstream] * 3), "--static-models", ",".join([CHAT, LARGE, STREAM])),
    ]
    with _started(stack, "router", command, port, "/health", {"PYTHONPATH": str(source / "src")}) as pid:
        yield Target(ROUTER, port, pid=pid)


OPENERS: dict[str, Callable[[Stack], Iterator[Target]]] = {
    FAKE: fake,
    NGINX: nginx,
    OURS: ours,
    BARE: bare,
    PORTKEY: portkey,
    LITELLM: litellm,
    ROUTER: router,
}


def start(stack: Stack, name: str, parts: ExitStack, missing: list[str]) -> Target | None:
    """The target, running until `parts` are closed; None where it cannot be had, which `missing` then says."""
    try:
        return parts.enter_context(contextmanager(OPENERS[name])(stack))
    except (UnavailableError, CannotStartError, lyceum.Stop) as reason:
        # The page does not say why: it may be about a folder of this machine.
        print(f"Without {name}: {reason}", file=sys.stderr)
        missing.append(f"Without {name}, which this machine could not install or start.")
        return None


def versions() -> str:
    """What the peers are, in half a sentence."""
    portkey_version = json.loads((NODE / "package.json").read_text())["dependencies"]["@portkey-ai/gateway"]
    pinned = re.search(r"^litellm==(\S+)", LITELLM_PINS.read_text(), re.MULTILINE)
    assert pinned
    return f"Portkey {portkey_version}, LiteLLM {pinned[1]}, vLLM's router at {ROUTER_COMMIT[:7]}"


def _started(
    stack: Stack, name: str, command: list[str], port: int, path: str, variables: Mapping[str, str] | None = None
) -> AbstractContextManager[int]:
    # Nothing of ours: a DATABASE_URL would turn on more than is compared.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment |= variables or {}
    log = stack.folder / f"{name}.log"
    return process(command, environment, f"http://127.0.0.1:{port}{path}", log=log, folder=stack.folder)


def _fetch(folder: Path) -> None:
    """The pinned commit of the router's source, once."""
    asked = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if folder.exists() and asked.stdout.strip() == ROUTER_COMMIT:
        return
    title = "fetching the router of vLLM's production-stack"
    lyceum.step(title, ["git", "init", "--quiet", str(folder)])
    lyceum.step(title, ["git", "-C", str(folder), "fetch", "--quiet", "--depth", "1", ROUTER_SOURCE, ROUTER_COMMIT])
    lyceum.step(title, ["git", "-C", str(folder), "checkout", "--quiet", ROUTER_COMMIT])

"""Inference servers as far as discovery asks them, over real HTTP: what each kind answers where, and nothing else."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]
"""A status and a body: bytes as they stand, anything else as JSON."""


@dataclass
class Asked:
    """A request that a fake server received."""

    method: str
    path: str
    credential: str


@dataclass
class Server:
    """A running fake. `answers` may be changed at any time; while `hold` is not set, nothing is answered."""

    port: int
    answers: dict[str, Answer]
    key: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"


@contextmanager
def serving(answers: Mapping[str, Answer], *, key: str = "") -> Iterator[Server]:
    """A server that answers these paths, everything else with 404, and callers without `key` with 401."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer()

        def answer(self) -> None:
            credential = self.headers.get("Authorization", "").removeprefix("Bearer ")
            server.asked.append(Asked(self.command, self.path, credential))
            server.hold.wait(10)
            status, body = server.answers.get(self.path, (404, {"error": "no such path"}))
            if server.key and credential != server.key:
                status, body = 401, {"error": {"message": f"Incorrect API key provided: {credential}"}}
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
            """Nothing: requests are asserted on, not read."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = Server(port=http.server_port, answers=dict(answers), key=key)
    server.hold.set()
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.hold.set()
        http.shutdown()
        http.server_close()
        thread.join()


def listing(*names: str, **facts: Any) -> Answer:
    """The list of models, each with the same further facts."""
    return 200, {"object": "list", "data": [{"id": name, "object": "model", "created": 1, **facts} for name in names]}


VECTORS: Answer = (200, {"object": "list", "data": [{"index": 0, "embedding": [0.1, 0.2]}]})


def openai(*names: str) -> dict[str, Answer]:
    return {"/v1/models": listing(*names, owned_by="someone")}


def vllm(*names: str, context_window: int = 32768, embeds: bool = False) -> dict[str, Answer]:
    return {
        "/v1/models": listing(*names, owned_by="vllm", max_model_len=context_window),
        "/version": (200, {"version": "0.11.0"}),
        **({"/v1/embeddings": VECTORS} if embeds else {}),
    }


def sglang(*names: str) -> dict[str, Answer]:
    return {
        "/v1/models": listing(*names, owned_by="sglang", max_model_len=16384),
        "/get_model_info": (200, {"model_path": names[0], "is_generation": True}),
        "/version": (200, {"version": "0.5"}),
    }


def llama_cpp(*names: str, embeds: bool = False) -> dict[str, Answer]:
    return {
        "/v1/models": listing(*names, owned_by="llamacpp", meta={"n_ctx_train": 131072}),
        "/props": (200, {"default_generation_settings": {"n_ctx": 4096}, "total_slots": 4}),
        "/v1/embeddings": VECTORS if embeds else (501, {"error": {"message": "start with --embeddings"}}),
    }


def ollama(*names: str) -> dict[str, Answer]:
    return {
        "/v1/models": listing(*names, owned_by="library"),
        "/api/version": (200, {"version": "0.12.3"}),
        "/api/show": (
            200,
            {"model_info": {"qwen3.context_length": 40960}, "capabilities": ["completion"], "parameters": "stop x"},
        ),
    }


def tgi(*names: str) -> dict[str, Answer]:
    return {
        "/v1/models": listing(*names, owned_by=names[0]),
        "/info": (200, {"model_id": names[0], "max_total_tokens": 8192, "version": "3.3.6"}),
    }

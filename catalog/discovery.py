"""What an inference server says about itself: which program it is, and which models it serves. No database here."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from catalog.models import BackendKind, Fault
from common.http import Client, NoAnswerError, Reply
from inference.uses import Use

DEADLINE_SECONDS = 5.0
TOTAL_SECONDS = 15.0
LOCAL_DEADLINE_SECONDS = 0.7
MAX_MODELS = 1000
MAX_NAME_LENGTH = 200
# Asking every model costs a request each; a server with more of them is described by their names alone.
MAX_MODELS_ASKED = 40
# A probe makes the server load the model it names, so only servers that have loaded all of theirs are probed.
MAX_MODELS_PROBED = 4
PROBED_KINDS = {BackendKind.VLLM, BackendKind.SGLANG, BackendKind.LLAMA_CPP, BackendKind.TGI}

# What a server does not say about a model is read off its name, and staff correct it. The first that fits counts.
NAMES_BY_USE = {
    Use.RERANKING: r"rerank|cross-encoder",
    Use.EMBEDDINGS: r"embed|(^|[/_-])(bge|gte|e5|minilm|mpnet|stella|labse|paraphrase)([-_]|$)|(^|[/_-])all-minilm",
    Use.TRANSCRIPTION: r"whisper|parakeet|voxtral",
    Use.SPEECH: r"(^|[/_-])(tts|kokoro|orpheus|cosyvoice)",
    Use.IMAGES: r"(^|[/_-])flux|stable-diffusion|sdxl|qwen-image",
}


class DiscoveryError(Exception):
    """The server cannot be used; `fault` says why and str() says it in words, never with its address or credential."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(fault, detail)
        self.fault = fault
        self.detail = detail

    def __str__(self) -> str:
        return self.fault.in_words(self.detail)


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that a server lists. `context_window` is None when the server does not say."""

    name: str
    context_window: int | None
    uses: frozenset[Use]


@dataclass(frozen=True, slots=True)
class FoundServer:
    """A server that can be used. `base_url` is what an SDK would be given."""

    base_url: str
    kind: BackendKind
    models: tuple[FoundModel, ...]
    latency_ms: int


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server on this machine that nobody entered yet."""

    name: str
    label: str
    base_url: str
    kind: BackendKind
    models: tuple[FoundModel, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kind of server usually listens."""

    name: str
    label: str
    port: int
    kind: BackendKind


LOCAL_PLACES = (
    Place("ollama", "Ollama", 11434, BackendKind.OLLAMA),
    Place("llama-cpp", "llama.cpp", 8080, BackendKind.LLAMA_CPP),
    Place("vllm", "vLLM", 8000, BackendKind.VLLM),
    Place("sglang", "SGLang", 30000, BackendKind.SGLANG),
    Place("lm-studio", "LM Studio", 1234, BackendKind.OPENAI),
)


async def inspect(url: str, *, credential: str, kind: BackendKind | None) -> FoundServer:
    """What serves at `url`, an SDK base URL that ends in `/v1` or not.

    Raises DiscoveryError when nothing usable does.
    """
    async with Client(deadline_seconds=DEADLINE_SECONDS) as client:
        try:
            return await asyncio.wait_for(_inspect(client, url, credential, kind), TOTAL_SECONDS)
        except TimeoutError:
            raise DiscoveryError(Fault.TIMEOUT) from None


async def check(client: Client, base_url: str, *, credential: str) -> int:
    """Milliseconds in which the server listed its models. Raises DiscoveryError when it did not."""
    reply = await _get(client, f"{base_url}/models", credential)
    _entries(reply)
    return round(reply.seconds * 1000)


async def find_local(*, except_ports: Iterable[int], places: Sequence[Place] = LOCAL_PLACES) -> list[LocalServer]:
    """Inference servers on the ports where they usually listen on this machine, asked all at once."""
    passed_over = set(except_ports)
    async with Client(deadline_seconds=LOCAL_DEADLINE_SECONDS) as client:
        found = await asyncio.gather(*(_look(client, place) for place in places if place.port not in passed_over))
    return [server for server in found if server]


async def _look(client: Client, place: Place) -> LocalServer | None:
    try:
        server = await _inspect(client, f"http://127.0.0.1:{place.port}/v1", "", None)
    except DiscoveryError:
        return None
    # Any of these ports may have been given to another of these servers.
    is_usual = server.kind == place.kind
    return LocalServer(
        name=place.name if is_usual else server.kind.value.replace(".", "-"),
        label=place.label if is_usual else str(server.kind.label),
        base_url=server.base_url,
        kind=server.kind,
        models=server.models,
    )


async def _inspect(client: Client, url: str, credential: str, kind: BackendKind | None) -> FoundServer:
    base_url, reply = await _find_models(client, url.rstrip("/"), credential)
    entries = _entries(reply)
    if not entries:
        raise DiscoveryError(Fault.NO_MODELS)
    root = base_url.removesuffix("/v1")
    kind = kind or await _find_kind(client, root, credential, entries)
    described = await _describe(client, root, credential, kind, entries)
    models = await _probe_embeddings(client, base_url, credential, kind, described)
    in_order = tuple(sorted(models, key=lambda model: model.name))
    return FoundServer(base_url=base_url, kind=kind, models=in_order, latency_ms=round(reply.seconds * 1000))


async def _find_models(client: Client, url: str, credential: str) -> tuple[str, Reply]:
    if url.endswith("/v1"):
        return url, await _get(client, f"{url}/models", credential)
    reply = await _ask(client, f"{url}/v1/models", credential)
    if reply.status == 200:
        return f"{url}/v1", reply
    # Some services keep their API under another path, such as /openai or /api/paas/v4.
    other = await _ask(client, f"{url}/models", credential) if urlsplit(url).path else reply
    if other.status == 200 and isinstance(_listed(other), list):
        return url, other
    return f"{url}/v1", _accept(reply)


async def _ask(client: Client, url: str, credential: str) -> Reply:
    try:
        return await client.get(url, credential=credential)
    except NoAnswerError as error:
        raise DiscoveryError(Fault(error.failure.value)) from None


async def _get(client: Client, url: str, credential: str) -> Reply:
    return _accept(await _ask(client, url, credential))


def _accept(reply: Reply) -> Reply:
    if 200 <= reply.status < 300:
        return reply
    detail = f"HTTP {reply.status}"
    if reply.status in {401, 403}:
        raise DiscoveryError(Fault.UNAUTHORIZED, detail)
    if reply.status in {404, 405, 501}:
        raise DiscoveryError(Fault.NOT_OPENAI, detail)
    if 300 <= reply.status < 400:
        raise DiscoveryError(Fault.REDIRECTS, detail)
    raise DiscoveryError(Fault.ERROR_STATUS, detail)


def _listed(reply: Reply) -> Any:
    listing = reply.json()
    return listing.get("data") if isinstance(listing, dict) else listing


def _entries(reply: Reply) -> list[dict[str, Any]]:
    listed = _listed(reply)
    if not isinstance(listed, list):
        raise DiscoveryError(Fault.NOT_OPENAI)
    entries = {entry["id"]: entry for entry in listed if isinstance(entry, dict) and is_name(entry.get("id"))}
    if listed and not entries:
        raise DiscoveryError(Fault.NOT_OPENAI)
    return list(entries.values())[:MAX_MODELS]


def is_name(value: object) -> bool:
    """Whether a model may be called so."""
    # Names stand in the commands that developers copy from a page: none may end a quoted string there.
    return (
        isinstance(value, str)
        and value.isprintable()
        and 0 < len(value.strip()) == len(value) <= MAX_NAME_LENGTH
        and not set(value) & set("'\"`<>")
    )


async def _json(client: Client, url: str, credential: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a server answers on an address that it may well not have; empty when it is nothing usable."""
    try:
        if body is None:
            reply = await client.get(url, credential=credential)
        else:
            reply = await client.post(url, body, credential=credential)
    except NoAnswerError:
        return {}
    answer = reply.json() if reply.status == 200 else None
    return answer if isinstance(answer, dict) else {}


async def _find_kind(client: Client, root: str, credential: str, entries: list[dict[str, Any]]) -> BackendKind:
    paths = ("api/version", "props", "get_model_info", "server_info", "info", "version")
    answers = await asyncio.gather(*(_json(client, f"{root}/{path}", credential) for path in paths))
    ollama, props, sglang, sglang_server, info, version = answers
    owners = {str(entry.get("owned_by")) for entry in entries}
    if "default_generation_settings" in props:
        return BackendKind.LLAMA_CPP
    if "model_path" in sglang or "model_path" in sglang_server:
        return BackendKind.SGLANG
    if "version" in ollama:
        return BackendKind.OLLAMA
    if "model_id" in info:
        return BackendKind.TGI
    if "version" in version and (owners == {"vllm"} or any("max_model_len" in entry for entry in entries)):
        return BackendKind.VLLM
    # Behind a proxy that lets only /v1 through, the list of models is all there is to go by.
    known = {"vllm": BackendKind.VLLM, "sglang": BackendKind.SGLANG, "llamacpp": BackendKind.LLAMA_CPP}
    return known.get(owners.pop(), BackendKind.OPENAI) if len(owners) == 1 else BackendKind.OPENAI


async def _describe(
    client: Client, root: str, credential: str, kind: BackendKind, entries: list[dict[str, Any]]
) -> list[FoundModel]:
    if kind == BackendKind.OLLAMA and len(entries) <= MAX_MODELS_ASKED:
        return list(await asyncio.gather(*(_ask_ollama(client, root, credential, entry["id"]) for entry in entries)))
    whole_server: int | None = None
    if kind == BackendKind.LLAMA_CPP:
        props = await _json(client, f"{root}/props", credential)
        whole_server = _positive(_dig(props, "default_generation_settings", "n_ctx"))
    elif kind == BackendKind.TGI:
        info = await _json(client, f"{root}/info", credential)
        whole_server = _positive(info.get("max_total_tokens"))
    return [_by_name(entry["id"], whole_server or _context_window(entry)) for entry in entries]


async def _ask_ollama(client: Client, root: str, credential: str, name: str) -> FoundModel:
    shown = await _json(client, f"{root}/api/show", credential, {"model": name})
    facts = shown.get("model_info")
    trained = (
        [value for key, value in facts.items() if key.endswith(".context_length")] if isinstance(facts, dict) else []
    )
    # What the model was loaded with counts before what it was trained for.
    loaded = re.search(r"^num_ctx\s+(\d+)", str(shown.get("parameters") or ""), re.MULTILINE)
    context_window = _positive(int(loaded[1])) if loaded else _positive(next(iter(trained), None))
    capabilities = shown.get("capabilities")
    if isinstance(capabilities, list) and capabilities:
        uses = {"completion": Use.CHAT, "embedding": Use.EMBEDDINGS}
        return FoundModel(name, context_window, frozenset(uses[name] for name in capabilities if name in uses))
    return _by_name(name, context_window)


def _by_name(name: str, context_window: int | None) -> FoundModel:
    use = next((use for use, names in NAMES_BY_USE.items() if re.search(names, name, re.IGNORECASE)), Use.CHAT)
    return FoundModel(name, context_window, frozenset({use}))


def _context_window(entry: dict[str, Any]) -> int | None:
    said = (
        entry.get("max_model_len"),
        _dig(entry, "meta", "n_ctx"),
        _dig(entry, "meta", "n_ctx_train"),
        entry.get("context_length"),
        entry.get("context_window"),
    )
    return next((window for value in said if (window := _positive(value))), None)


async def _probe_embeddings(
    client: Client, base_url: str, credential: str, kind: BackendKind, models: list[FoundModel]
) -> list[FoundModel]:
    if kind not in PROBED_KINDS or len(models) > MAX_MODELS_PROBED:
        return models
    return list(await asyncio.gather(*(_probe(client, base_url, credential, kind, model) for model in models)))


async def _probe(client: Client, base_url: str, credential: str, kind: BackendKind, model: FoundModel) -> FoundModel:
    body = {"model": model.name, "input": "probe"}
    answer = await _json(client, f"{base_url}/embeddings", credential, body)
    rows = answer.get("data")
    embeds = isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict) and bool(rows[0].get("embedding"))
    if not embeds:
        return model
    # llama.cpp gives both from one model; the others load a model for one task.
    kept = model.uses if kind == BackendKind.LLAMA_CPP else model.uses - {Use.CHAT}
    return FoundModel(model.name, model.context_window, kept | {Use.EMBEDDINGS})


def _dig(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None


def normalize(url: str) -> str:
    """`url` with its scheme and host in lower case and no slash at its end."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        # No address at all: `validate_base_url` says so in words.
        return url.strip()
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), parts.path.rstrip("/"), parts.query, parts.fragment))

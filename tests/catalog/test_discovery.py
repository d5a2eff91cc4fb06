from collections.abc import Callable
from dataclasses import replace

import pytest

from catalog.discovery import LOCAL_PLACES, DiscoveryError, FoundModel, FoundServer, find_local, inspect
from catalog.models import BackendKind, Fault
from common.http import run
from inference.uses import Use
from tests.catalog.servers import VECTORS, Answer, Server, listing, llama_cpp, ollama, openai, sglang, tgi, vllm

CHAT = frozenset({Use.CHAT})

Serve = Callable[..., Server]


def discover(url: str, *, credential: str = "", kind: BackendKind | None = None) -> FoundServer:
    return run(inspect(url, credential=credential, kind=kind))


def fault_of(url: str, *, credential: str = "") -> tuple[Fault, str]:
    with pytest.raises(DiscoveryError) as caught:
        discover(url, credential=credential)
    return caught.value.fault, str(caught.value)


def test_it_works(serve: Serve) -> None:
    server = serve(vllm("Qwen/Qwen3-8B", "Qwen/Qwen3-8B-lora"), key="sk-1")
    found = discover(server.base_url, credential="sk-1")
    assert (found.base_url, found.kind) == (server.base_url, BackendKind.VLLM)
    assert found.models == (
        FoundModel("Qwen/Qwen3-8B", 32768, uses=CHAT),
        FoundModel("Qwen/Qwen3-8B-lora", 32768, uses=CHAT),
    )
    assert {asked.credential for asked in server.asked} == {"sk-1"}


@pytest.mark.parametrize(
    ("answers", "kind", "context_window"),
    [
        (vllm("a"), BackendKind.VLLM, 32768),
        (sglang("a"), BackendKind.SGLANG, 16384),
        (llama_cpp("a"), BackendKind.LLAMA_CPP, 4096),
        (ollama("a"), BackendKind.OLLAMA, 40960),
        (tgi("a"), BackendKind.TGI, 8192),
        (openai("a"), BackendKind.OPENAI, None),
    ],
)
def test_each_kind(serve: Serve, answers: dict[str, Answer], kind: BackendKind, context_window: int | None) -> None:
    found = discover(serve(answers).base_url)
    assert found.kind == kind
    assert found.models == (FoundModel("a", context_window, uses=CHAT),)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_the_address_may_end_in_v1_or_not(serve: Serve, ending: str) -> None:
    server = serve(openai("a"))
    assert discover(server.url + ending).base_url == server.base_url


def test_an_api_under_another_path(serve: Serve) -> None:
    server = serve({"/api/paas/v4/models": listing("glm-4.6")})
    assert discover(f"{server.url}/api/paas/v4").base_url == f"{server.url}/api/paas/v4"


def test_a_kind_that_was_told_is_not_looked_for(serve: Serve) -> None:
    server = serve(openai("a"))
    assert discover(server.base_url, kind=BackendKind.VLLM).kind == BackendKind.VLLM
    assert "/api/version" not in {asked.path for asked in server.asked}


def test_behind_a_proxy_that_lets_only_v1_through(serve: Serve) -> None:
    server = serve({"/v1/models": listing("a", owned_by="vllm", max_model_len=1000)})
    assert discover(server.base_url).kind == BackendKind.VLLM


def test_what_ollama_loads_counts_before_what_a_model_was_trained_for(serve: Serve) -> None:
    answers = ollama("qwen3:8b")
    shown = {"model_info": {"qwen3.context_length": 40960}, "parameters": "num_ctx                8192\nstop x"}
    answers["/api/show"] = (200, shown)
    assert discover(serve(answers).base_url).models[0].context_window == 8192


def test_ollama_says_what_a_model_can(serve: Serve) -> None:
    answers = ollama("nomic")
    answers["/api/show"] = (200, {"model_info": {"bert.context_length": 2048}, "capabilities": ["embedding"]})
    assert discover(serve(answers).base_url).models == (FoundModel("nomic", 2048, uses=frozenset({Use.EMBEDDINGS})),)


def test_a_server_of_one_task_that_gives_embeddings_answers_no_chats(serve: Serve) -> None:
    [model] = discover(serve(vllm("intfloat/multilingual", embeds=True)).base_url).models
    assert model.uses == {"embeddings"}


def test_llama_cpp_may_do_both(serve: Serve) -> None:
    [model] = discover(serve(llama_cpp("smollm2", embeds=True)).base_url).models
    assert model.uses == {"chat", "embeddings"}


@pytest.mark.parametrize(
    "name",
    [
        "text-embedding-3-small",
        "BAAI/bge-m3",
        "intfloat/e5-mistral-7b",
        "all-minilm:l6",
        "thenlper/gte-large",
        "mxbai-embed-large",
    ],
)
def test_embeddings_by_name(serve: Serve, name: str) -> None:
    [model] = discover(serve(openai(name)).base_url).models
    assert model.uses == {"embeddings"}


def test_no_probe_where_it_would_load_or_cost(serve: Serve) -> None:
    server = serve({**openai("a"), "/v1/embeddings": VECTORS})
    assert discover(server.base_url).models[0].uses == {"chat"}
    assert "/v1/embeddings" not in {asked.path for asked in server.asked}


def test_a_reranker_answers_no_chats(serve: Serve) -> None:
    [model] = discover(serve(openai("BAAI/bge-reranker-v2-m3")).base_url).models
    assert model.uses == {"reranking"}


def test_a_bare_list_of_models(serve: Serve) -> None:
    server = serve({"/v1/models": (200, [{"id": "a", "context_length": 4096}])})
    assert discover(server.base_url).models[0].context_window == 4096


@pytest.mark.parametrize("context_window", [0, -1, True, "32768", 1.5, 2**40, None, [1]])
def test_a_context_window_that_is_none(serve: Serve, context_window: object) -> None:
    server = serve({"/v1/models": listing("a", max_model_len=context_window)})
    assert discover(server.base_url).models[0].context_window is None


def test_names_that_could_not_be_copied_into_a_command_are_passed_over(serve: Serve) -> None:
    names = ["fine", "it's", 'a"b', "`id`", "<script>", "two\nlines", " space", "", "x" * 201]
    assert [model.name for model in discover(serve(openai(*names)).base_url).models] == ["fine"]


def test_the_wrong_credential(serve: Serve) -> None:
    server = serve(vllm("a"), key="sk-1")
    fault, words = fault_of(server.base_url, credential="sk-2-wrong")
    assert fault == Fault.UNAUTHORIZED
    assert "HTTP 401" in words
    assert "sk-2" not in words


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ((403, {}), Fault.UNAUTHORIZED),
        ((404, {}), Fault.NOT_OPENAI),
        ((200, b"<html>Welcome to nginx</html>"), Fault.NOT_OPENAI),
        ((200, {"models": []}), Fault.NOT_OPENAI),
        ((200, {"data": {"id": "a"}}), Fault.NOT_OPENAI),
        ((200, {"data": [1, None, {"id": 7}]}), Fault.NOT_OPENAI),
        ((200, b"[" * 100_000), Fault.NOT_OPENAI),
        ((200, b"\xff\xfe"), Fault.NOT_OPENAI),
        ((200, {"data": []}), Fault.NO_MODELS),
        ((301, {}), Fault.REDIRECTS),
        ((500, {}), Fault.ERROR_STATUS),
        ((503, {}), Fault.ERROR_STATUS),
    ],
)
def test_servers_that_cannot_be_used(serve: Serve, answer: Answer, fault: Fault) -> None:
    assert fault_of(serve({"/v1/models": answer}).base_url)[0] == fault


def test_nothing_there() -> None:
    assert fault_of("http://127.0.0.1:9/v1") == (Fault.REFUSED, "Nothing listens at this address.")


def test_found_on_this_machine(serve: Serve) -> None:
    running = serve(ollama("qwen3:8b", "gemma3:4b"))
    moved = serve(vllm("Qwen/Qwen3-8B"))
    nothing = serve({})
    places = [
        replace(place, port=server.port) for place, server in zip(LOCAL_PLACES, (running, moved, nothing), strict=False)
    ]
    first, second = run(find_local(except_ports=[], places=places))
    assert (first.name, first.label, first.base_url, len(first.models)) == ("ollama", "Ollama", running.base_url, 2)
    assert (second.name, second.label, second.base_url) == ("vllm", "vLLM", moved.base_url)


def test_ports_of_our_own_are_not_asked(serve: Serve) -> None:
    server = serve(ollama("a"))
    assert run(find_local(except_ports=[server.port], places=[replace(LOCAL_PLACES[0], port=server.port)])) == []
    assert server.asked == []

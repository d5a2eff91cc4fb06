from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from catalog.models import Backend, BackendKind
from tests.catalog.servers import Server, openai, vllm

pytestmark = pytest.mark.django_db
Serve = Callable[..., Server]


def add(*arguments: str) -> str:
    out = StringIO()
    call_command("add_backend", *arguments, stdout=out)
    return out.getvalue()


def test_it_works(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(vllm("Qwen/Qwen3-8B"), key="sk-1")
    monkeypatch.setenv("GPU_KEY", "sk-1")
    assert add("gpu-1", server.url, "--api-key-env", "GPU_KEY") == (
        f"Connected gpu-1: vLLM at {server.base_url}\n  Qwen/Qwen3-8B  (32768 tokens of context)\n"
    )
    assert Backend.objects.get().credential == "sk-1"


def test_a_second_time_updates_and_says_what_vanished(serve: Serve) -> None:
    server = serve(openai("a", "bge-m3"))
    add("gpu-1", server.url)
    server.answers = openai("a")
    printed = add("gpu-1", server.url)
    assert printed.startswith("Updated gpu-1:")
    assert "  a  (known already)\n" in printed
    assert "bge-m3  no longer listed there" in printed


def test_one_that_is_turned_off_stays_so_and_says_so(serve: Serve) -> None:
    server = serve(openai("a"))
    add("gpu-1", server.url)
    Backend.objects.update(is_enabled=False)
    assert "turn it on at http://localhost:" in add("gpu-1", server.url)
    assert not Backend.objects.get().is_enabled


def test_a_kind_that_is_told(serve: Serve) -> None:
    add("gpu-1", serve(openai("a")).url, "--kind", "sglang")
    assert Backend.objects.get().kind == BackendKind.SGLANG


def test_an_empty_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_KEY", " ")
    with pytest.raises(CommandError, match="GPU_KEY is not set"):
        add("gpu-1", "http://127.0.0.1:9", "--api-key-env", "GPU_KEY")


@pytest.mark.parametrize(
    ("name", "url", "line"),
    [
        ("gpu 1", "http://127.0.0.1:9", "is no name for a backend"),
        ("x" * 61, "http://127.0.0.1:9", "is no name for a backend"),
        ("embedded", "http://127.0.0.1:9", "kept for the portal itself"),
        ("gpu-1", "gpu:8000", "must begin with http"),
        ("gpu-1", "http://me:pw@gpu/v1", "Leave the user name and password out"),
        ("gpu-1", "http://127.0.0.1:9", "Nothing listens at this address"),
    ],
)
def test_what_is_refused_in_one_line(name: str, url: str, line: str) -> None:
    with pytest.raises(CommandError, match=line) as caught:
        add(name, url)
    assert "\n" not in str(caught.value)
    assert not Backend.objects.exists()


def test_the_wrong_key(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_KEY", "sk-wrong")
    with pytest.raises(CommandError, match="does not accept the credential") as caught:
        add("gpu-1", serve(vllm("a"), key="sk-1").url, "--api-key-env", "GPU_KEY")
    assert "sk-wrong" not in str(caught.value)


def test_what_is_no_openai_server(serve: Serve) -> None:
    with pytest.raises(CommandError, match="not an OpenAI-compatible server"):
        add("gpu-1", serve({"/v1/models": (200, b"<html>")}).url)


def test_a_server_without_models(serve: Serve) -> None:
    with pytest.raises(CommandError, match="serves no model"):
        add("gpu-1", serve(openai()).url)

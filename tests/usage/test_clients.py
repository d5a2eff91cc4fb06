"""Of what a program says of itself, no more is kept than a known name and a version."""

import pytest

from usage.clients import client_named
from usage.models import UsageEvent

OF_AGENTS = {
    "OpenAI/Python 2.8.0": "openai-python 2.8.0",
    "AsyncOpenAI/Python 1.99.1": "openai-python 1.99.1",
    "AsyncAzureOpenAI/Python 1.0.0": "openai-python 1.0.0",
    "OpenAI/JS 6.9.1": "openai-node 6.9.1",
    "OpenAI/Go 3.8.1": "openai-go 3.8.1",
    "OpenAI/2.7.0 (.NET 9.0.0; Linux)": "openai-dotnet 2.7.0",
    "AsyncAnthropic/Python 0.74.1": "anthropic-python 0.74.1",
    "Anthropic/JS 0.70.0": "anthropic-node 0.70.0",
    "litellm/1.80.0": "litellm 1.80.0",
    "ai/5.0.98 ai-sdk/openai-compatible/1.0.27 runtime/node.js/22": "ai-sdk 5.0.98",
    "codex_cli_rs/0.63.0 (Debian 12.0.0; x86_64) vscode": "codex 0.63.0",
    "curl/8.5.0": "curl 8.5.0",
    "Python/3.11 aiohttp/3.13.2": "aiohttp 3.13.2",
    "Go-http-client/2.0": "go-http-client 2.0",
}


@pytest.mark.parametrize(("agent", "client"), OF_AGENTS.items())
def test_it_works(agent: str, client: str) -> None:
    assert client_named(agent) == client


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        "nightly-job-of-ada@example.com",
        "OpenAI/Python",
        "OpenAI/Python latest",
        "my curl/8.5.0",
    ],
)
def test_what_is_not_known_is_not_kept(agent: str) -> None:
    assert client_named(agent) == ""


def test_what_is_kept_fits_its_column() -> None:
    longest = UsageEvent._meta.get_field("client").max_length or 0
    assert len(client_named("AsyncAnthropic/Python 1" + "." * 190)) <= longest

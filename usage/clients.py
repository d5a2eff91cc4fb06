"""Which library made a call, by what it says of itself: no more is kept than a known name and a version."""

import re
from functools import lru_cache

VERSION = r"v?(?P<version>\d[0-9A-Za-z.+-]{0,19})"
# In this order: what builds upon another library names it too. A wrapper that says nothing of itself is what it wraps.
_PATTERNS = {
    "litellm": r"litellm/",
    "ai-sdk": r"ai-sdk/[a-z-]+/|(?:^| )ai/",
    "langchain-js": r"langchainjs-[a-z]+/",
    "codex": r"codex[a-z_-]*/",
    "claude-code": r"claude-cli/",
    "openai-python": r"(?:Async)?(?:Azure)?OpenAI/Python ",
    "openai-node": r"(?:Azure)?OpenAI/JS ",
    "openai-go": r"OpenAI/Go ",
    "openai-java": r"OpenAI/Java ",
    "openai-ruby": r"OpenAI::Client/Ruby ",
    "openai-dotnet": r"OpenAI/(?=\d)",
    "anthropic-python": r"(?:Async)?Anthropic/Python ",
    "anthropic-node": r"Anthropic/JS ",
    "anthropic-go": r"Anthropic/Go ",
    "anthropic-java": r"Anthropic/Java ",
    "curl": r"^curl/",
    "httpx": r"^python-httpx/",
    "requests": r"^python-requests/",
    "aiohttp": r"aiohttp/",
    "axios": r"^axios/",
    "undici": r"^undici/",
    "go-http-client": r"^Go-http-client/",
    "postman": r"^PostmanRuntime/",
}
_KNOWN = [(name, re.compile(f"(?:{pattern}){VERSION}")) for name, pattern in _PATTERNS.items()]


@lru_cache(maxsize=1024)
def client_named(user_agent: str) -> str:
    """`openai-python 1.99.1` for what its User-Agent says; empty for a program that is not known."""
    for name, pattern in _KNOWN:
        if found := pattern.search(user_agent):
            return f"{name} {found['version']}"
    return ""

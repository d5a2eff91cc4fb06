"""Counts of tokens: as a server reports them, and as we estimate them where it does not."""

from dataclasses import dataclass
from typing import Any

import orjson

from inference.checks import Body

# What a chat template puts around a message, as it usually is; the overhead further down is what it may be.
MESSAGE_LIKELY_TOKENS = 4
# What it begins the answer with, and the words many put in where nobody said who the model is.
ANSWER_LIKELY_TOKENS = 3
DEFAULT_SYSTEM_LIKELY_TOKENS = 20
# Fields that a template writes into the prompt beside the messages.
PROMPT_FIELDS = ("tools", "functions", "response_format")
# Fields with a text, or several, that the model reads as it stands.
TEXT_FIELDS = ("input", "prompt", "instructions", "system", "query", "documents")
ITEM_FIELDS = ("text", "arguments", "output")
TEXT_LISTS = ("input", "prompt", "documents")
IMAGE_TOKENS = 1_000
# A picture of one color is large in a few bytes, and Qwen's models take this many of one.
MOST_IMAGE_TOKENS = 16_384
MESSAGE_OVERHEAD_TOKENS = 16
# What rerankers are told of what to do, which some put around each document.
PAIR_OVERHEAD_TOKENS = 128
# Longer than any token of the tokenizers in use, spaces apart: they have tokens for a hundred of those and more.
LONGEST_TOKEN_BYTES = 256
# More than any body holds or any answer has. A server that counts more must not use up its caller's minute, or money.
MOST_REPORTED_TOKENS = 50_000_000


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Tokens of one call. `cached_tokens` are part of `prompt_tokens`, `reasoning_tokens` of `completion_tokens`."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class PromptSize:
    """What is known of a prompt before a server reads it: a likely count, and one that no tokenizer exceeds."""

    likely_tokens: int
    most_tokens: int


def reported(usage: Any) -> TokenCount | None:
    """The count in a `usage` object, under OpenAI's older or newer names or under Anthropic's; None when it holds none.

    A reported zero is a zero, not a missing count.
    """
    if not isinstance(usage, dict):
        return None
    total = _whole(usage.get("total_tokens"))
    prompt = _whole(usage.get("prompt_tokens"))
    if prompt is None:
        prompt = _whole(usage.get("input_tokens"))
    if prompt is None:
        # Rerankers count what they read, all in all.
        prompt = total
    if prompt is None:
        return None
    completion = _whole(usage.get("completion_tokens"))
    if completion is None:
        completion = _whole(usage.get("output_tokens"))
    if completion is None:
        completion = max(0, (total or 0) - prompt)
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = _whole(details.get("cached_tokens")) if isinstance(details, dict) else None
    if cached is None and "cache_read_input_tokens" in usage:
        # Anthropic does not count what it had read before, or keeps for the next time, among the input.
        cached = _whole(usage["cache_read_input_tokens"]) or 0
        prompt += cached + (_whole(usage.get("cache_creation_input_tokens")) or 0)
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    reasoning = _whole(details.get("reasoning_tokens")) if isinstance(details, dict) else None
    return TokenCount(prompt, completion, min(cached or 0, prompt), min(reasoning or 0, completion))


def from_timings(timings: Any) -> TokenCount | None:
    """The running count in llama.cpp's `timings`; None when it holds none."""
    if not isinstance(timings, dict):
        return None
    read, written = _whole(timings.get("prompt_n")), _whole(timings.get("predicted_n"))
    if read is None or written is None:
        return None
    cached = _whole(timings.get("cache_n")) or 0
    return TokenCount(prompt_tokens=read + cached, completion_tokens=written, cached_tokens=cached)


def as_usage(count: TokenCount) -> dict[str, int]:
    """The `usage` object of a count, for a server that gave none."""
    return {
        "prompt_tokens": count.prompt_tokens,
        "completion_tokens": count.completion_tokens,
        "total_tokens": count.total,
    }


def prompt_size(body: Body, *, payload_bytes: int, context_window: int | None) -> PromptSize:
    """The size of the prompt in `body`, which is `payload_bytes` long as JSON.

    A byte-level tokenizer never makes more tokens than there are bytes; what a template adds is counted per message.
    """
    messages = _messages(body)
    images = _images(messages)
    texts = max(1, *(_texts_apart(body, name) for name in TEXT_LISTS))
    most = payload_bytes + MESSAGE_OVERHEAD_TOKENS * (len(messages) + texts) + MOST_IMAGE_TOKENS * images
    likely = IMAGE_TOKENS * images + sum(map(_likely_message, messages))
    likely += sum(_likely_text(body[name]) for name in TEXT_FIELDS if name in body)
    if "query" in body and isinstance(documents := body.get("documents"), list):
        # A reranker reads the query with each document anew.
        seen, shown = _images([body["query"]]), _images(documents)
        query = len(orjson.dumps(body["query"])) + MOST_IMAGE_TOKENS * seen
        most += len(documents) * (PAIR_OVERHEAD_TOKENS + query) + MOST_IMAGE_TOKENS * shown
        likely += (len(documents) - 1) * _likely_text(body["query"]) + IMAGE_TOKENS * (len(documents) * seen + shown)
    if context_window is not None:
        # Texts to embed, or to go on with, are read one by one: the window bounds each of them, not all together.
        most = min(most, context_window * texts)
    if messages:
        likely += ANSWER_LIKELY_TOKENS + (0 if _has_system(body, messages) else DEFAULT_SYSTEM_LIKELY_TOKENS)
    likely += sum(_likely_json(body[name]) for name in PROMPT_FIELDS if body.get(name))
    return PromptSize(likely_tokens=min(max(likely, 1), most), most_tokens=most)


def fewest_tokens(body: Body) -> int:
    """Tokens that the messages in `body` have with any tokenizer: far below what they really have, but certain."""
    texts = 0
    for message in body.get("messages") or ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else [content]:
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str) and len(text) > LONGEST_TOKEN_BYTES:
                texts += len(text) - text.count(" ") - text.count("\n")
    return texts // LONGEST_TOKEN_BYTES


def likely_tokens(text: str) -> int:
    """Tokens in `text`, as many tokenizers would have it: one for four Latin letters, one for each Han character."""
    # Bytes tell scripts apart without a look at each character: Latin takes one, Cyrillic two, Han three.
    extra = 0 if text.isascii() else len(text.encode(errors="replace")) - len(text)
    return (2 * len(text) + 3 * extra + 7) // 8


def estimated_output(text_characters: int, pieces: int) -> int:
    """Tokens in an answer that came in `pieces` of `text_characters` in all: a server sends a token or more in each."""
    return max(pieces, text_characters // 6)


def called_with(message: dict[str, Any]) -> list[str]:
    """The arguments of the calls in a message or in a piece of one, by the newer name or the older: a model wrote them,
    and some servers send them in one piece."""
    calls = message.get("tool_calls")
    called = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    given = [call.get("arguments") for call in (*called, message.get("function_call")) if isinstance(call, dict)]
    return [arguments for arguments in given if isinstance(arguments, str)]


def _likely_message(message: Any) -> int:
    if not isinstance(message, dict):
        return 0
    tokens = MESSAGE_LIKELY_TOKENS
    content = message.get("content")
    if isinstance(content, str):
        tokens += likely_tokens(content)
    elif isinstance(content, list):
        # What else a part may have, a picture, is counted apart.
        texts = (part.get("text") for part in content if isinstance(part, dict))
        tokens += sum(likely_tokens(text) for text in texts if isinstance(text, str))
    if calls := message.get("tool_calls"):
        tokens += _likely_json(calls)
    return tokens


def _messages(body: Body) -> list[Any]:
    """What is said, by whom: in `messages`, or among the items of `input`."""
    messages = body.get("messages")
    if isinstance(messages, list):
        return messages
    given = body.get("input")
    if not isinstance(given, list):
        return []
    return [item for item in given if isinstance(item, dict) and "role" in item]


def _has_system(body: Body, messages: list[Any]) -> bool:
    first = messages[0]
    spoken = isinstance(first, dict) and first.get("role") in ("system", "developer")
    return spoken or bool(body.get("system") or body.get("instructions"))


def _texts_apart(body: Body, name: str) -> int:
    """How many texts a field has; tokens, and what is said in turn, are one."""
    value = body.get(name)
    if not isinstance(value, list):
        return 0
    return len(value) if name == "documents" else sum(isinstance(item, str | list) for item in value)


def _likely_text(value: Any) -> int:
    """Tokens in a text, in its tokens, or in a list of either. What somebody said is counted apart, as a message."""
    match value:
        case str():
            return likely_tokens(value)
        case [int(), *_]:
            return len(value)
        case list():
            return sum(map(_likely_text, value))
        case dict() if "role" not in value:
            return sum(_likely_text(value[name]) for name in ITEM_FIELDS if name in value)
    return 0


def _likely_json(value: Any) -> int:
    return likely_tokens(orjson.dumps(value).decode())


def _images(messages: list[Any]) -> int:
    number = 0
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            continue
        for part in content:
            for value in part.values() if isinstance(part, dict) else ():
                url = value.get("url") if isinstance(value, dict) else value
                is_inline = isinstance(value, dict) and value.get("type") == "base64"
                if is_inline or (isinstance(url, str) and url[:5].lower() == "data:"):
                    number += 1
    return number


def _whole(value: Any) -> int | None:
    if type(value) is int and 0 <= value <= MOST_REPORTED_TOKENS:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A server that reports nonsense must not overflow a column or pay anybody back.
    return int(min(max(value, 0), MOST_REPORTED_TOKENS)) if value == value else None  # NaN is not equal to itself

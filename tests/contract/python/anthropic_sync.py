"""Anthropic's SDK for Python."""

from functools import partial
from typing import Any

import anthropic

from tests.contract.python.cells import (
    ANSWER,
    ANSWER_TOKENS,
    CITY,
    KEY,
    LIMITED_KEY,
    POOR_KEY,
    PROMPT_TOKENS,
    QUESTION,
    URL,
    WRONG_KEY,
    cell,
    raised,
    run,
    tries,
)

client = anthropic.Anthropic(base_url=URL.removesuffix("/v1"), api_key=KEY)
MESSAGES: list[Any] = [{"role": "user", "content": QUESTION}]
TOOLS: list[Any] = [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]
MOST_TOKENS = 100


def create(model: str, *, key: str = KEY, max_retries: int = 0, **fields: Any) -> Any:
    patient = client.with_options(api_key=key, max_retries=max_retries)
    return patient.messages.create(**{"model": model, "messages": MESSAGES, "max_tokens": MOST_TOKENS, **fields})


def streamed(model: str, **fields: Any) -> Any:
    return client.messages.stream(model=model, messages=MESSAGES, max_tokens=MOST_TOKENS, **fields)


def refused(model: str, **fields: Any) -> anthropic.APIStatusError:
    return raised(anthropic.APIStatusError, lambda: create(model, **fields))


@cell
def chat() -> None:
    answer = create("fake-chat")
    assert (answer.content[0].text, answer.model) == (ANSWER, "fake-chat")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)


@cell
def stream() -> None:
    with streamed("fake-chat") as events:
        assert "".join(events.text_stream) == ANSWER


@cell
def stream_usage() -> None:
    with streamed("fake-chat") as events:
        answer = events.get_final_message()
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)


@cell
def tools() -> None:
    answer = create("tool-chat", tools=TOOLS)
    call = answer.content[0]
    assert (answer.stop_reason, call.name, call.input) == ("tool_use", "weather", {"city": CITY})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "21"}
    turn = [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    assert create("tool-chat", tools=TOOLS, messages=[*MESSAGES, *turn]).content[0].text == ANSWER


@cell
def tools_stream() -> None:
    with streamed("tool-chat", tools=TOOLS) as events:
        call: Any = events.get_final_message().content[0]
    assert (call.name, call.input) == ("weather", {"city": CITY})


@cell
def count_tokens() -> None:
    assert client.messages.count_tokens(model="fake-chat", messages=MESSAGES).input_tokens == PROMPT_TOKENS


@cell
def slashed_model() -> None:
    assert create("lab/slashed").model == "lab/slashed"


@cell
def request_id() -> None:
    assert create("fake-chat")._request_id.startswith("req_")
    assert (refused("nobody").request_id or "").startswith("req_")


@cell
def wrong_key() -> str:
    error = refused("fake-chat", key=WRONG_KEY)
    assert (error.status_code, error.type) == (401, "authentication_error")
    return type(error).__name__


@cell
def unknown_model() -> str:
    error = refused("nobody")
    assert (error.status_code, error.type) == (404, "not_found_error")
    return type(error).__name__


@cell
def bad_request() -> str:
    error = refused("fake-chat", extra_body={"prompt_embeds": "x"})
    assert (error.status_code, error.type) == (400, "invalid_request_error")
    assert "'prompt_embeds'" in str(error)
    return type(error).__name__


@cell
def rate_limit() -> str:
    create("fake-chat", key=LIMITED_KEY)
    error = refused("fake-chat", key=LIMITED_KEY)
    assert (error.status_code, error.type) == (429, "rate_limit_error")
    return type(error).__name__


@cell
def overloaded() -> str:
    error = refused("full-chat")
    assert (error.status_code, error.type) == (503, "overloaded_error")
    return type(error).__name__


@cell
def retries_rate_limit() -> str:
    refused("busy-chat", max_retries=anthropic.DEFAULT_MAX_RETRIES)
    return tries("busy-chat", waits=1)


@cell
def retries_overloaded() -> str:
    refused("overloaded-chat", max_retries=anthropic.DEFAULT_MAX_RETRIES)
    return tries("overloaded-chat", waits=1)


@cell
def retries_long_wait() -> str:
    refused("patient-chat", max_retries=anthropic.DEFAULT_MAX_RETRIES)
    return tries("patient-chat")


@cell
def spent_budget() -> str:
    error = refused("paid-chat", key=POOR_KEY, max_retries=anthropic.DEFAULT_MAX_RETRIES)
    assert error.status_code == 429
    return tries("paid-chat", key=POOR_KEY)


@cell
def broken_stream() -> str:
    words: list[str] = []

    def read(model: str) -> None:
        with streamed(model) as events:
            words.extend(events.text_stream)

    errors = [raised(anthropic.APIError, partial(read, model)) for model in ("breaks-chat", "dies-chat")]
    assert "".join(words) == "word " * 6, "three before each break"
    assert type(errors[0]) is type(errors[1])
    return type(errors[0]).__name__


if __name__ == "__main__":
    run("Anthropic Python", package="anthropic")

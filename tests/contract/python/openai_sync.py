"""OpenAI's SDK for Python."""

import base64
import time
from array import array
from functools import partial
from typing import Any

import openai
import pydantic

from tests.contract.python.cells import (
    ANSWER,
    ANSWER_TOKENS,
    BATCH,
    BATCH_SECONDS,
    CITY,
    DEGREES,
    KEY,
    LIMITED_KEY,
    MODELS,
    PICTURE,
    POOR_KEY,
    PROMPT_TOKENS,
    QUESTION,
    URL,
    VECTOR,
    WRONG_KEY,
    answers_in,
    cell,
    raised,
    run,
    tries,
)

client = openai.OpenAI(base_url=URL, api_key=KEY)
MESSAGES: list[Any] = [{"role": "user", "content": QUESTION}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


def complete(model: str, *, key: str = KEY, max_retries: int = 0, **fields: Any) -> Any:
    patient = client.with_options(api_key=key, max_retries=max_retries)
    return patient.chat.completions.create(model=model, messages=MESSAGES, **fields)


def refused(model: str, **fields: Any) -> openai.APIStatusError:
    return raised(openai.APIStatusError, lambda: complete(model, **fields))


@cell
def chat() -> None:
    answer = complete("fake-chat")
    assert answer.choices[0].message.content == ANSWER
    assert answer.model == "fake-chat"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)


@cell
def stream() -> None:
    chunks = list(complete("fake-chat", stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert "usage" not in chunks[0].model_fields_set


@cell
def stream_usage() -> None:
    *chunks, last = complete("fake-chat", stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks)


@cell
def tools() -> None:
    answer = complete("tool-chat", tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls"
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, CITY in call.function.arguments) == ("weather", True)
    turn: list[Any] = [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "21"}]
    final = client.chat.completions.create(model="tool-chat", messages=[*MESSAGES, *turn], tools=TOOLS)
    assert final.choices[0].message.content == ANSWER


@cell
def tools_stream() -> None:
    with client.chat.completions.stream(model="tool-chat", messages=MESSAGES, tools=TOOLS) as events:
        message = events.get_final_completion().choices[0].message
    assert message.tool_calls
    assert CITY in message.tool_calls[0].function.arguments


@cell
def structured() -> None:
    answer = client.chat.completions.parse(model="json-chat", messages=MESSAGES, response_format=Weather)
    assert answer.choices[0].message.parsed == Weather(city=CITY, degrees=DEGREES)


@cell
def completions() -> None:
    answer = client.completions.create(model="fake-chat", prompt=QUESTION)
    assert answer.choices[0].text == ANSWER
    chunks = list(client.completions.create(model="fake-chat", prompt=QUESTION, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == ANSWER


@cell
def responses() -> None:
    answer = client.responses.create(model="fake-chat", input=QUESTION)
    assert (answer.output_text, answer.model) == (ANSWER, "fake-chat")
    assert answer.usage is not None
    assert answer.usage.output_tokens == ANSWER_TOKENS


@cell
def responses_stream() -> None:
    with client.responses.stream(model="fake-chat", input=QUESTION) as events:
        assert events.get_final_response().model == "fake-chat"
    broken = list(client.responses.create(model="breaks-chat", input=QUESTION, stream=True))
    assert [event.type for event in broken][-2:] == ["response.output_text.delta", "error"]


@cell
def embeddings() -> None:
    answer = client.embeddings.create(model="fake-embed", input=[QUESTION, QUESTION], encoding_format="float")
    assert [entry.embedding for entry in answer.data] == [VECTOR, VECTOR]


@cell
def embeddings_base64() -> None:
    # What this SDK asks for when it is told nothing.
    assert client.embeddings.create(model="fake-embed", input=QUESTION).data[0].embedding == VECTOR
    raw: Any = client.embeddings.create(model="fake-embed", input=QUESTION, encoding_format="base64").data[0].embedding
    assert list(array("f", base64.b64decode(raw))) == VECTOR


@cell
def pictures() -> None:
    made = client.images.generate(model="fake-all", prompt=QUESTION)
    files = [("ada.png", PICTURE), ("ben.png", PICTURE)]
    changed = client.images.edit(model="fake-all", prompt=QUESTION, image=files, mask=files[0], n=2)
    found = [base64.b64decode(one.b64_json or "") for answer in (made, changed) for one in answer.data or []]
    assert found == [PICTURE] * 3


@cell
def files() -> None:
    stored = client.files.create(file=("input.jsonl", BATCH), purpose="batch")
    assert stored.id in {file.id for file in client.files.list()}
    assert (client.files.retrieve(stored.id)).filename == "input.jsonl"
    assert (client.files.content(stored.id)).content == BATCH
    assert (client.files.delete(stored.id)).deleted


@cell
def batches() -> None:
    given = client.files.create(file=("input.jsonl", BATCH), purpose="batch")
    batch = client.batches.create(input_file_id=given.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert batch.id in [one.id for one in client.batches.list(limit=20)]
    deadline = time.monotonic() + BATCH_SECONDS
    while batch.status not in ("completed", "failed", "expired") and time.monotonic() < deadline:
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.output_file_id is not None) == ("completed", True)
    output = client.files.content(batch.output_file_id or "")
    assert answers_in(output.content) == {f"row-{number}": ANSWER for number in range(3)}


@cell
def models() -> None:
    assert {model.id for model in client.models.list()} >= MODELS


@cell
def slashed_model() -> None:
    assert complete("lab/slashed").model == "lab/slashed"
    # This SDK sends it as `lab%2Fslashed`.
    assert client.models.retrieve("lab/slashed").id == "lab/slashed"


@cell
def wrong_key() -> str:
    error = refused("fake-chat", key=WRONG_KEY)
    assert (error.status_code, error.code, error.type) == (401, "invalid_api_key", "invalid_request_error")
    assert WRONG_KEY not in str(error)
    return type(error).__name__


@cell
def unknown_model() -> str:
    error = refused("nobody")
    assert (error.status_code, error.code, error.param) == (404, "model_not_found", None)
    return type(error).__name__


@cell
def bad_request() -> str:
    error = refused("fake-chat", extra_body={"prompt_embeds": "x"})
    assert (error.status_code, error.code, error.param) == (400, "unsupported_parameter", "prompt_embeds")
    return type(error).__name__


@cell
def rate_limit() -> str:
    complete("fake-chat", key=LIMITED_KEY)
    error = refused("fake-chat", key=LIMITED_KEY)
    assert (error.status_code, error.code, error.type) == (429, "rate_limit_exceeded", "requests")
    assert 1 <= int(error.response.headers["retry-after"]) <= 60
    return type(error).__name__


@cell
def overloaded() -> str:
    error = refused("full-chat")
    assert (error.status_code, error.code, error.type) == (503, "service_unavailable", "server_error")
    return type(error).__name__


@cell
def request_id() -> None:
    assert complete("fake-chat")._request_id.startswith("req_")
    assert (refused("nobody").request_id or "").startswith("req_")


@cell
def retries_rate_limit() -> str:
    refused("busy-chat", max_retries=openai.DEFAULT_MAX_RETRIES)
    return tries("busy-chat", waits=1)


@cell
def retries_overloaded() -> str:
    refused("overloaded-chat", max_retries=openai.DEFAULT_MAX_RETRIES)
    return tries("overloaded-chat", waits=1)


@cell
def retries_long_wait() -> str:
    refused("patient-chat", max_retries=openai.DEFAULT_MAX_RETRIES)
    return tries("patient-chat")


@cell
def spent_budget() -> str:
    error = refused("paid-chat", key=POOR_KEY, max_retries=openai.DEFAULT_MAX_RETRIES)
    assert (error.status_code, error.code, error.type) == (429, "insufficient_quota", "insufficient_quota")
    return tries("paid-chat", key=POOR_KEY)


@cell
def broken_stream() -> str:
    words: list[str] = []

    def read(model: str) -> None:
        words.extend(chunk.choices[0].delta.content or "" for chunk in complete(model, stream=True))

    errors = [raised(openai.APIError, partial(read, model)) for model in ("breaks-chat", "dies-chat")]
    assert "".join(words) == "word " * 6, "three before each break"
    assert type(errors[0]) is type(errors[1])
    return type(errors[0]).__name__


if __name__ == "__main__":
    run("OpenAI Python", package="openai")

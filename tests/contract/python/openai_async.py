"""OpenAI's SDK for Python, its asynchronous client."""

import asyncio
import base64
import time
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
    raised_by,
    run,
    tries,
)

MESSAGES: list[Any] = [{"role": "user", "content": QUESTION}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


def client(*, key: str = KEY, max_retries: int = 0) -> openai.AsyncOpenAI:
    """A client of the cell that asks for it: each cell has an event loop of its own."""
    return openai.AsyncOpenAI(base_url=URL, api_key=key, max_retries=max_retries)


async def complete(model: str, *, key: str = KEY, max_retries: int = 0, **fields: Any) -> Any:
    async with client(key=key, max_retries=max_retries) as sdk:
        return await sdk.chat.completions.create(model=model, messages=MESSAGES, **fields)


async def chunks(model: str, **fields: Any) -> list[Any]:
    async with client() as sdk:
        answer: Any = await sdk.chat.completions.create(model=model, messages=MESSAGES, stream=True, **fields)
        return [chunk async for chunk in answer]


async def refused(model: str, **fields: Any) -> openai.APIStatusError:
    return await raised_by(openai.APIStatusError, complete(model, **fields))


@cell
async def chat() -> None:
    answer = await complete("fake-chat")
    assert (answer.choices[0].message.content, answer.model) == (ANSWER, "fake-chat")


@cell
async def stream() -> None:
    assert "".join(chunk.choices[0].delta.content or "" for chunk in await chunks("fake-chat")) == ANSWER


@cell
async def stream_usage() -> None:
    *others, last = await chunks("fake-chat", stream_options={"include_usage": True})
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)
    assert all(chunk.usage is None for chunk in others)


@cell
async def tools() -> None:
    answer = await complete("tool-chat", tools=TOOLS)
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, CITY in call.function.arguments) == ("weather", True)
    turn: list[Any] = [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "21"}]
    async with client() as sdk:
        final = await sdk.chat.completions.create(model="tool-chat", messages=[*MESSAGES, *turn], tools=TOOLS)
    assert final.choices[0].message.content == ANSWER


@cell
async def tools_stream() -> None:
    async with client() as sdk, sdk.chat.completions.stream(model="tool-chat", messages=MESSAGES, tools=TOOLS) as read:
        message = (await read.get_final_completion()).choices[0].message
    assert message.tool_calls
    assert CITY in message.tool_calls[0].function.arguments


@cell
async def structured() -> None:
    async with client() as sdk:
        answer = await sdk.chat.completions.parse(model="json-chat", messages=MESSAGES, response_format=Weather)
    assert answer.choices[0].message.parsed == Weather(city=CITY, degrees=DEGREES)


@cell
async def completions() -> None:
    async with client() as sdk:
        answer = await sdk.completions.create(model="fake-chat", prompt=QUESTION)
        assert answer.choices[0].text == ANSWER
        stream = await sdk.completions.create(model="fake-chat", prompt=QUESTION, stream=True)
        assert "".join([chunk.choices[0].text async for chunk in stream]) == ANSWER


@cell
async def responses() -> None:
    async with client() as sdk:
        answer = await sdk.responses.create(model="fake-chat", input=QUESTION)
    assert (answer.output_text, answer.model) == (ANSWER, "fake-chat")


@cell
async def responses_stream() -> None:
    async with client() as sdk:
        events = [event async for event in await sdk.responses.create(model="fake-chat", input=QUESTION, stream=True)]
        broken = [event async for event in await sdk.responses.create(model="breaks-chat", input=QUESTION, stream=True)]
    assert events[-1].type == "response.completed"
    assert broken[-1].type == "error"


@cell
async def embeddings() -> None:
    async with client() as sdk:
        answer = await sdk.embeddings.create(model="fake-embed", input=[QUESTION], encoding_format="float")
    assert answer.data[0].embedding == VECTOR


@cell
async def embeddings_base64() -> None:
    async with client() as sdk:
        answer = await sdk.embeddings.create(model="fake-embed", input=QUESTION)
    assert answer.data[0].embedding == VECTOR


@cell
async def pictures() -> None:
    files = [("ada.png", PICTURE), ("ben.png", PICTURE)]
    async with client() as sdk:
        made = await sdk.images.generate(model="fake-all", prompt=QUESTION)
        changed = await sdk.images.edit(model="fake-all", prompt=QUESTION, image=files, mask=files[0], n=2)
    found = [base64.b64decode(one.b64_json or "") for answer in (made, changed) for one in answer.data or []]
    assert found == [PICTURE] * 3


@cell
async def files() -> None:
    async with client() as sdk:
        stored = await sdk.files.create(file=("input.jsonl", BATCH), purpose="batch")
        assert stored.id in {file.id async for file in sdk.files.list()}
        assert (await sdk.files.retrieve(stored.id)).filename == "input.jsonl"
        assert (await sdk.files.content(stored.id)).content == BATCH
        assert (await sdk.files.delete(stored.id)).deleted


@cell
async def batches() -> None:
    async with client() as sdk:
        given = await sdk.files.create(file=("input.jsonl", BATCH), purpose="batch")
        batch = await sdk.batches.create(
            input_file_id=given.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        assert batch.id in [one.id async for one in sdk.batches.list(limit=20)]
        deadline = time.monotonic() + BATCH_SECONDS
        while batch.status not in ("completed", "failed", "expired") and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
            batch = await sdk.batches.retrieve(batch.id)
        assert (batch.status, batch.output_file_id is not None) == ("completed", True)
        output = await sdk.files.content(batch.output_file_id or "")
    assert answers_in(output.content) == {f"row-{number}": ANSWER for number in range(3)}


@cell
async def models() -> None:
    async with client() as sdk:
        assert {model.id async for model in sdk.models.list()} >= MODELS


@cell
async def slashed_model() -> None:
    assert (await complete("lab/slashed")).model == "lab/slashed"
    async with client() as sdk:
        assert (await sdk.models.retrieve("lab/slashed")).id == "lab/slashed"


@cell
async def wrong_key() -> str:
    error = await refused("fake-chat", key=WRONG_KEY)
    assert (error.status_code, error.code) == (401, "invalid_api_key")
    return type(error).__name__


@cell
async def unknown_model() -> str:
    error = await refused("nobody")
    assert (error.status_code, error.code) == (404, "model_not_found")
    return type(error).__name__


@cell
async def bad_request() -> str:
    error = await refused("fake-chat", extra_body={"prompt_embeds": "x"})
    assert (error.status_code, error.code, error.param) == (400, "unsupported_parameter", "prompt_embeds")
    return type(error).__name__


@cell
async def rate_limit() -> str:
    await complete("fake-chat", key=LIMITED_KEY)
    error = await refused("fake-chat", key=LIMITED_KEY)
    assert (error.status_code, error.code) == (429, "rate_limit_exceeded")
    return type(error).__name__


@cell
async def overloaded() -> str:
    error = await refused("full-chat")
    assert (error.status_code, error.code) == (503, "service_unavailable")
    return type(error).__name__


@cell
async def request_id() -> None:
    assert (await complete("fake-chat"))._request_id.startswith("req_")
    assert ((await refused("nobody")).request_id or "").startswith("req_")


@cell
async def retries_rate_limit() -> str:
    await refused("busy-chat", max_retries=openai.DEFAULT_MAX_RETRIES)
    return tries("busy-chat", waits=1)


@cell
async def retries_overloaded() -> str:
    await refused("overloaded-chat", max_retries=openai.DEFAULT_MAX_RETRIES)
    return tries("overloaded-chat", waits=1)


@cell
async def retries_long_wait() -> str:
    await refused("patient-chat", max_retries=openai.DEFAULT_MAX_RETRIES)
    return tries("patient-chat")


@cell
async def spent_budget() -> str:
    error = await refused("paid-chat", key=POOR_KEY, max_retries=openai.DEFAULT_MAX_RETRIES)
    assert error.code == "insufficient_quota"
    return tries("paid-chat", key=POOR_KEY)


@cell
async def broken_stream() -> str:
    errors = [await raised_by(openai.APIError, chunks(model)) for model in ("breaks-chat", "dies-chat")]
    assert type(errors[0]) is type(errors[1])
    return type(errors[0]).__name__


if __name__ == "__main__":
    run("OpenAI Python, async", package="openai")

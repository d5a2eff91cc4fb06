"""Pydantic AI: agents and embedders on OpenAI's provider."""

from typing import Any

import pydantic
from pydantic_ai import Agent, Embedder, NativeOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.contract.python.cells import (
    ANSWER,
    ANSWER_TOKENS,
    CITY,
    DEGREES,
    KEY,
    LIMITED_KEY,
    POOR_KEY,
    PROMPT_TOKENS,
    QUESTION,
    URL,
    VECTOR,
    WRONG_KEY,
    cell,
    raised_by,
    run,
    tries,
)


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


def agent(model: str, *, key: str = KEY, **settings: Any) -> Any:
    return Agent(OpenAIChatModel(model, provider=OpenAIProvider(base_url=URL, api_key=key)), **settings)


async def refused(model: str, *, key: str = KEY, **settings: Any) -> ModelHTTPError:
    return await raised_by(ModelHTTPError, agent(model, key=key).run(QUESTION, model_settings=settings))


async def streamed(asked: Any) -> tuple[str, Any]:
    async with asked.run_stream(QUESTION) as result:
        text = "".join([piece async for piece in result.stream_text(delta=True)])
        return text, result.usage


def name_of(error: ModelAPIError) -> str:
    """The class a program would catch: what is raised is of a private one below it."""
    return next(kind.__name__ for kind in type(error).__mro__ if not kind.__name__.startswith("_"))


@cell
async def chat() -> None:
    result = await agent("fake-chat").run(QUESTION)
    assert result.output == ANSWER
    assert result.usage.input_tokens == PROMPT_TOKENS


@cell
async def stream() -> None:
    text, _usage = await streamed(agent("fake-chat"))
    assert text == ANSWER


@cell
async def stream_usage() -> None:
    _text, usage = await streamed(agent("fake-chat"))
    assert (usage.input_tokens, usage.output_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)


def able(called: list[str]) -> Any:
    """An agent with a tool, and what the tool was called with."""
    made = agent("tool-chat")

    @made.tool_plain  # type: ignore[untyped-decorator]
    def weather(city: str) -> str:
        called.append(city)
        return "21"

    return made


@cell
async def tools() -> None:
    called: list[str] = []
    result = await able(called).run(QUESTION)
    assert (called, result.output) == ([CITY], ANSWER)


@cell
async def tools_stream() -> None:
    called: list[str] = []
    text, _usage = await streamed(able(called))
    assert (called, text) == ([CITY], ANSWER)


@cell
async def structured() -> None:
    result = await agent("json-chat", output_type=NativeOutput(Weather)).run(QUESTION)
    assert result.output == Weather(city=CITY, degrees=DEGREES)


def embedder() -> Embedder:
    return Embedder(OpenAIEmbeddingModel("fake-embed", provider=OpenAIProvider(base_url=URL, api_key=KEY)))


@cell
async def embeddings() -> None:
    as_numbers: Any = {"extra_body": {"encoding_format": "float"}}
    result = await embedder().embed_documents([QUESTION, QUESTION], settings=as_numbers)
    assert [list(vector) for vector in result.embeddings] == [VECTOR, VECTOR]


@cell
async def embeddings_base64() -> None:
    result = await embedder().embed_query(QUESTION)
    assert list(result.embeddings[0]) == VECTOR


@cell
async def slashed_model() -> None:
    assert (await agent("lab/slashed").run(QUESTION)).response.model_name == "lab/slashed"


@cell
async def wrong_key() -> str:
    error = await refused("fake-chat", key=WRONG_KEY)
    assert (error.status_code, error.provider_error_code) == (401, "invalid_api_key")
    return name_of(error)


@cell
async def unknown_model() -> str:
    error = await refused("nobody")
    assert (error.status_code, error.provider_error_code) == (404, "model_not_found")
    return name_of(error)


@cell
async def bad_request() -> str:
    error = await refused("fake-chat", extra_body={"prompt_embeds": "x"})
    assert (error.status_code, error.provider_error_code) == (400, "unsupported_parameter")
    return name_of(error)


@cell
async def rate_limit() -> str:
    await agent("fake-chat", key=LIMITED_KEY).run(QUESTION)
    error = await refused("fake-chat", key=LIMITED_KEY, max_retries=0)
    assert (error.status_code, error.provider_error_code) == (429, "rate_limit_exceeded")
    assert error.retry_after
    return name_of(error)


@cell
async def overloaded() -> str:
    error = await refused("full-chat", max_retries=0)
    assert (error.status_code, error.provider_error_code) == (503, "service_unavailable")
    return name_of(error)


@cell
async def retries_rate_limit() -> str:
    await refused("busy-chat")
    return tries("busy-chat", waits=1)


@cell
async def retries_overloaded() -> str:
    await refused("overloaded-chat")
    return tries("overloaded-chat", waits=1)


@cell
async def retries_long_wait() -> str:
    await refused("patient-chat")
    return tries("patient-chat")


@cell
async def spent_budget() -> str:
    assert (await refused("paid-chat", key=POOR_KEY)).provider_error_code == "insufficient_quota"
    return tries("paid-chat", key=POOR_KEY)


@cell
async def broken_stream() -> str:
    errors = [await raised_by(ModelAPIError, streamed(agent(model))) for model in ("breaks-chat", "dies-chat")]
    assert type(errors[0]) is type(errors[1])
    return name_of(errors[0])


if __name__ == "__main__":
    run("Pydantic AI", package="pydantic-ai-slim")

"""LangChain: `ChatOpenAI` and `OpenAIEmbeddings`."""

from functools import partial, reduce
from operator import add
from typing import Any

import openai
import pydantic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

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
    raised,
    run,
    tries,
)


class Weather(pydantic.BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


@tool  # type: ignore[untyped-decorator]
def weather(city: str) -> str:
    """The weather in a city."""
    return f"21 degrees in {city}"


def model(name: str, *, key: str = KEY, **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(model=name, base_url=URL, api_key=pydantic.SecretStr(key), **settings)


def embedding(**settings: Any) -> OpenAIEmbeddings:
    # With the check it would send tokens of a vocabulary of OpenAI's instead of text.
    return OpenAIEmbeddings(
        model="fake-embed", base_url=URL, api_key=pydantic.SecretStr(KEY), check_embedding_ctx_length=False, **settings
    )


def refused(name: str, **settings: Any) -> openai.APIStatusError:
    return raised(openai.APIStatusError, lambda: model(name, **settings).invoke(QUESTION))


@cell
def chat() -> None:
    answer = model("fake-chat").invoke(QUESTION)
    assert answer.content == ANSWER
    assert answer.usage_metadata
    assert answer.usage_metadata["input_tokens"] == PROMPT_TOKENS


@cell
def stream() -> None:
    pieces = [piece.content for piece in model("fake-chat").stream(QUESTION)]
    assert "".join(map(str, pieces)) == ANSWER
    assert len(pieces) > ANSWER_TOKENS


@cell
def stream_usage() -> None:
    whole: Any = reduce(add, model("fake-chat", stream_usage=True).stream(QUESTION))
    usage = whole.usage_metadata
    assert (usage["input_tokens"], usage["output_tokens"]) == (PROMPT_TOKENS, ANSWER_TOKENS)


@cell
def tools() -> None:
    able = model("tool-chat").bind_tools([weather])
    asked = able.invoke(QUESTION)
    assert [call["args"] for call in asked.tool_calls] == [{"city": CITY}]
    result = ToolMessage(weather.invoke(asked.tool_calls[0]["args"]), tool_call_id=asked.tool_calls[0]["id"])
    assert able.invoke([HumanMessage(QUESTION), asked, result]).content == ANSWER


@cell
def tools_stream() -> None:
    whole: Any = reduce(add, model("tool-chat").bind_tools([weather]).stream(QUESTION))
    assert [call["args"] for call in whole.tool_calls] == [{"city": CITY}]


@cell
def structured() -> None:
    parsed = model("json-chat").with_structured_output(Weather, method="json_schema").invoke(QUESTION)
    assert parsed == Weather(city=CITY, degrees=DEGREES)


@cell
def embeddings() -> None:
    assert embedding(model_kwargs={"encoding_format": "float"}).embed_documents([QUESTION]) == [VECTOR]


@cell
def embeddings_base64() -> None:
    assert embedding().embed_query(QUESTION) == VECTOR


@cell
def slashed_model() -> None:
    assert model("lab/slashed").invoke(QUESTION).response_metadata["model_name"] == "lab/slashed"


@cell
def wrong_key() -> str:
    error = refused("fake-chat", key=WRONG_KEY)
    assert (error.status_code, error.code) == (401, "invalid_api_key")
    return type(error).__name__


@cell
def unknown_model() -> str:
    error = refused("nobody")
    assert (error.status_code, error.code) == (404, "model_not_found")
    return type(error).__name__


@cell
def bad_request() -> str:
    error = refused("fake-chat", extra_body={"prompt_embeds": "x"})
    assert (error.status_code, error.param) == (400, "prompt_embeds")
    return type(error).__name__


@cell
def rate_limit() -> str:
    model("fake-chat", key=LIMITED_KEY).invoke(QUESTION)
    error = refused("fake-chat", key=LIMITED_KEY, max_retries=0)
    assert (error.status_code, error.code) == (429, "rate_limit_exceeded")
    return type(error).__name__


@cell
def overloaded() -> str:
    error = refused("full-chat", max_retries=0)
    assert (error.status_code, error.code) == (503, "service_unavailable")
    return type(error).__name__


@cell
def retries_rate_limit() -> str:
    refused("busy-chat")
    return tries("busy-chat", waits=1)


@cell
def retries_overloaded() -> str:
    refused("overloaded-chat")
    return tries("overloaded-chat", waits=1)


@cell
def retries_long_wait() -> str:
    refused("patient-chat")
    return tries("patient-chat")


@cell
def spent_budget() -> str:
    assert refused("paid-chat", key=POOR_KEY).code == "insufficient_quota"
    return tries("paid-chat", key=POOR_KEY)


@cell
def broken_stream() -> str:
    def read(name: str) -> None:
        list(model(name).stream(QUESTION))

    errors = [raised(openai.APIError, partial(read, name)) for name in ("breaks-chat", "dies-chat")]
    assert type(errors[0]) is type(errors[1])
    return type(errors[0]).__name__


if __name__ == "__main__":
    run("LangChain", package="langchain-openai")

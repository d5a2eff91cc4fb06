"""LlamaIndex: `OpenAILike` and `OpenAILikeEmbedding`."""

from functools import partial
from typing import Any

import openai
import pydantic
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike

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

MESSAGES = [ChatMessage(role="user", content=QUESTION)]


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


def weather(city: str) -> str:
    """The weather in a city."""
    return f"21 degrees in {city}"


TOOL = FunctionTool.from_defaults(weather)


def model(name: str, *, key: str = KEY, **settings: Any) -> Any:
    return OpenAILike(
        model=name, api_base=URL, api_key=key, is_chat_model=True, is_function_calling_model=True, **settings
    )


def embedding(**settings: Any) -> Any:
    return OpenAILikeEmbedding(model_name="fake-embed", api_base=URL, api_key=KEY, **settings)


def refused(name: str, **settings: Any) -> openai.APIStatusError:
    return raised(openai.APIStatusError, lambda: model(name, **settings).chat(MESSAGES))


@cell
def chat() -> None:
    answer = model("fake-chat").chat(MESSAGES)
    assert answer.message.content == ANSWER
    assert answer.raw.usage.prompt_tokens == PROMPT_TOKENS


@cell
def stream() -> None:
    pieces = [piece.delta for piece in model("fake-chat").stream_chat(MESSAGES)]
    assert "".join(pieces) == ANSWER
    assert len(pieces) > ANSWER_TOKENS


@cell
def stream_usage() -> None:
    asking = model("fake-chat", additional_kwargs={"stream_options": {"include_usage": True}})
    *_others, last = asking.stream_chat(MESSAGES)
    assert (last.raw.usage.prompt_tokens, last.raw.usage.completion_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)


@cell
def tools() -> None:
    able = model("tool-chat")
    asked = able.chat_with_tools([TOOL], user_msg=QUESTION)
    (call,) = able.get_tool_calls_from_response(asked)
    assert call.tool_kwargs == {"city": CITY}
    result = ChatMessage(role="tool", content="21", additional_kwargs={"tool_call_id": call.tool_id})
    final = able.chat_with_tools([TOOL], chat_history=[*MESSAGES, asked.message, result])
    assert final.message.content == ANSWER


@cell
def tools_stream() -> None:
    able = model("tool-chat")
    *_others, last = able.stream_chat_with_tools([TOOL], user_msg=QUESTION)
    assert [call.tool_kwargs for call in able.get_tool_calls_from_response(last)] == [{"city": CITY}]


@cell
def structured() -> None:
    able = model("json-chat", should_use_structured_outputs=True)
    assert able.structured_predict(Weather, PromptTemplate(QUESTION)) == Weather(city=CITY, degrees=DEGREES)


@cell
def embeddings() -> None:
    asking = embedding(additional_kwargs={"encoding_format": "float"})
    assert asking.get_text_embedding_batch([QUESTION, QUESTION]) == [VECTOR, VECTOR]


@cell
def embeddings_base64() -> None:
    assert embedding().get_query_embedding(QUESTION) == VECTOR


@cell
def slashed_model() -> None:
    assert model("lab/slashed").chat(MESSAGES).raw.model == "lab/slashed"


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
    error = refused("fake-chat", additional_kwargs={"extra_body": {"prompt_embeds": "x"}})
    assert (error.status_code, error.param) == (400, "prompt_embeds")
    return type(error).__name__


@cell
def rate_limit() -> str:
    model("fake-chat", key=LIMITED_KEY).chat(MESSAGES)
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
    # It retries around the retries of the SDK below it.
    refused("busy-chat")
    return tries("busy-chat", waits=1)


@cell
def retries_overloaded() -> str:
    refused("overloaded-chat")
    return tries("overloaded-chat", waits=1)


@cell
def spent_budget() -> str:
    assert refused("paid-chat", key=POOR_KEY).code == "insufficient_quota"
    return tries("paid-chat", key=POOR_KEY)


@cell
def broken_stream() -> str:
    def read(name: str) -> None:
        list(model(name).stream_chat(MESSAGES))

    errors = [raised(openai.APIError, partial(read, name)) for name in ("breaks-chat", "dies-chat")]
    assert type(errors[0]) is type(errors[1])
    return type(errors[0]).__name__


if __name__ == "__main__":
    run("LlamaIndex", package="llama-index-llms-openai-like")

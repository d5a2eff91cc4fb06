"""What a body may hold before an inference server sees it, and that looking at it takes no time from other calls."""

import time
from typing import Any

import pytest

from common.errors import InvalidRequestError
from inference.endpoints import CHAT_COMPLETIONS, EMBEDDINGS

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi. See https://example.com"}]}


def refused(body: dict[str, Any]) -> str | None:
    with pytest.raises(InvalidRequestError) as caught:
        (CHAT_COMPLETIONS if "messages" in body else EMBEDDINGS).check(body)
    return caught.value.param


def said(*content: Any) -> dict[str, Any]:
    return CHAT | {"messages": [{"role": "user", "content": list(content)}]}


def test_it_works() -> None:
    CHAT_COMPLETIONS.check(CHAT | {"stop": ["a", "b"], "chat_template_kwargs": {"enable_thinking": False}})
    CHAT_COMPLETIONS.check(said("https://example.com", {"type": "text", "text": "https://example.com"}))
    EMBEDDINGS.check({"model": "m", "input": ["https://example.com", [1, 2]]})


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "image": "http://169.254.169.254/"},
        {"type": "video", "video": ["https://example.com/a", "https://example.com/b"]},
        {"type": "image_url", "image_url": ["http://169.254.169.254/"]},
        {"type": "image_url", "image_url": {"url": ["http://169.254.169.254/"]}},
        {"type": "input_audio", "input_audio": {"data": " file:///etc/passwd"}},
    ],
)
def test_an_address_in_any_field_of_a_part(part: dict[str, Any]) -> None:
    assert str(refused(said(part))).startswith("messages[0].content[0].")


def test_an_address_in_content_that_is_no_list() -> None:
    content = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}
    assert refused(CHAT | {"messages": [{"role": "user", "content": content}]}) == "messages[0].content.image_url.url"


def test_an_address_among_what_is_embedded() -> None:
    assert refused({"model": "m", "input": [{"image": "http://169.254.169.254/"}]}) == "input"


@pytest.mark.parametrize("argument", ["chat_template", "tokenize"])
def test_a_template_by_way_of_its_arguments(argument: str) -> None:
    assert refused(CHAT | {"chat_template_kwargs": {argument: "{{ 7 }}"}}) == f"chat_template_kwargs.{argument}"


def test_more_work_than_the_choices_say() -> None:
    assert refused(CHAT | {"best_of": 1000}) == "best_of"
    assert refused(CHAT | {"stop": ["x"] * 10_000}) == "stop"


@pytest.mark.parametrize(
    "body",
    [
        CHAT | {"messages": [{"role": "user"}] * 1_000_000},
        said(*[{"a": {"b": 1}}] * 1_000_000),
        said(*[[[[[1] * 100] * 100] * 100]]),
        {"model": "m", "input": [{}] * 1_000_000},
    ],
    ids=["messages", "parts", "lists", "inputs"],
)
def test_a_great_many_values_are_not_all_looked_at(body: dict[str, Any]) -> None:
    started = time.thread_time()
    refused(body)
    assert time.thread_time() - started < 0.2

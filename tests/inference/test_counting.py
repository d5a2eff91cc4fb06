"""What a server counts is believed within bounds; what a prompt may come to is never too little."""

from typing import Any

import pytest

from inference.counting import MOST_REPORTED_TOKENS, TokenCount, likely_tokens, prompt_size, reported


def test_it_works() -> None:
    assert reported({"prompt_tokens": 3, "completion_tokens": 4}) == TokenCount(3, 4)


@pytest.mark.parametrize(
    ("said", "believed"),
    [(-5, 0), (10**30, MOST_REPORTED_TOKENS), (1e308, MOST_REPORTED_TOKENS), (float("inf"), MOST_REPORTED_TOKENS)],
)
def test_a_count_that_cannot_be(said: float, believed: int) -> None:
    assert reported({"prompt_tokens": said, "completion_tokens": said}) == TokenCount(believed, believed)


@pytest.mark.parametrize(("said", "believed"), [(3, 3), (9, 4), (-2, 0), ("x", 0), (None, 0)])
@pytest.mark.parametrize("details", ["completion_tokens_details", "output_tokens_details"])
def test_reasoning_is_part_of_the_output(details: str, said: Any, believed: int) -> None:
    usage = {"prompt_tokens": 2, "completion_tokens": 4, details: {"reasoning_tokens": said}}
    assert reported(usage) == TokenCount(2, 4, 0, believed)


@pytest.mark.parametrize("said", ["12", None, True, [1], {"a": 1}, float("nan")])
def test_a_count_that_is_none(said: object) -> None:
    assert reported({"prompt_tokens": said, "completion_tokens": 4}) is None


def test_many_texts_to_embed_may_come_to_more_than_one_window() -> None:
    body: dict[str, Any] = {"model": "m", "input": ["word " * 4000] * 10}
    size = prompt_size(body, payload_bytes=200_000, context_window=8192)
    assert size.most_tokens == 10 * 8192
    assert size.likely_tokens > 8192


@pytest.mark.parametrize("body", [{"input": [{"role": "user", "content": "x"}] * 10}, {"prompt": [1] * 9000}])
def test_a_conversation_and_tokens_are_read_in_one_window(body: dict[str, Any]) -> None:
    assert prompt_size(body, payload_bytes=200_000, context_window=8192).most_tokens == 8192


def test_a_reranker_reads_the_query_with_each_document() -> None:
    body: dict[str, Any] = {"query": "x" * 1000, "documents": ["y"] * 50}
    assert prompt_size(body, payload_bytes=1300, context_window=None).most_tokens > 50 * (1000 + 1)
    assert prompt_size(body, payload_bytes=1300, context_window=512).most_tokens == 50 * 512
    likely = prompt_size(body, payload_bytes=1300, context_window=None).likely_tokens
    assert likely == 50 * (likely_tokens("x" * 1000) + likely_tokens("y"))


def test_pictures_are_put_in_order_as_well() -> None:
    seen = {"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
    body: dict[str, Any] = {"query": seen, "documents": [seen] * 3}
    size = prompt_size(body, payload_bytes=400, context_window=None)
    assert size.most_tokens > 6 * 16_384
    assert size.likely_tokens == 6 * 1000


def test_a_small_picture_may_be_many_tokens() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body: dict[str, Any] = {"messages": [{"role": "user", "content": [part]}]}
    size = prompt_size(body, payload_bytes=120, context_window=None)
    assert size.most_tokens > 16_384
    assert 1000 < size.likely_tokens < 1100


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 27), ("Count to ten", 30), ("你好吗", 30), ("word " * 800, 1027)],
)
def test_the_likely_size_is_that_of_the_words_not_of_the_json(text: str, tokens: int) -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "temperature": 0.7, "max_tokens": 1000}
    assert prompt_size(body, payload_bytes=20_000, context_window=None).likely_tokens == tokens


def test_a_system_prompt_stands_in_for_the_one_a_template_has() -> None:
    body: dict[str, Any] = {"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]}
    assert prompt_size(body, payload_bytes=20_000, context_window=None).likely_tokens == 14


def test_tools_are_part_of_the_prompt() -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "tools": [{"name": "x" * 400}]}
    assert prompt_size(body, payload_bytes=600, context_window=None).likely_tokens > 100


def test_the_likely_size_is_never_above_the_most() -> None:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "word " * 4000}]}
    size = prompt_size(body, payload_bytes=20_100, context_window=512)
    assert size.likely_tokens == size.most_tokens == 512

"""What is indexed is found by its words, in Chinese too."""

import pytest
from django.test import Client

from search.excerpts import excerpt
from search.models import SearchDocument
from search.services import find, forget, index

pytestmark = pytest.mark.django_db


def put(object_id: str, title: str, body: str = "", **more: object) -> None:
    index(kind="note", object_id=object_id, title=title, body=body, url=f"/{object_id}/", **more)  # type: ignore[arg-type]


def found(text: str, **more: object) -> list[str]:
    return list(find(text, **more).values_list("object_id", flat=True))  # type: ignore[arg-type]


def test_it_works() -> None:
    put("one", "Streaming stops half-way", "The model ends after max_tokens.")
    put("two", "Something else")
    assert found("streaming") == ["one"]


@pytest.mark.parametrize(
    "query",
    [
        "令牌",
        "流式",
        "流式输出",
        "输出",
        "出",
        "max_tokens",
        "max tokens",
        "429",
        "gpt-4.1",
        "GPT 4.1",
        "ｇｐｔ",
        "token",
        "令牌 429",
    ],
)
def test_words_are_found(query: str) -> None:
    put("it", "如何得到令牌用量", "流式输出时设置 max_tokens，gpt-4.1 返回 429。数到最后一个出")
    put("other", "An unrelated note", "Nothing in common, 别的问题。")
    assert found(query) == ["it"]


@pytest.mark.parametrize("query", ["牌令", "流输", "4.2", "tokens_max", "", "!?", "'", "\\", ":*", "a & b | c"])
def test_other_words_are_not(query: str) -> None:
    put("it", "如何得到令牌用量", "流式输出时设置 max_tokens，gpt-4.1 返回 429。")
    assert found(query) == []


def test_a_word_in_the_title_comes_before_one_in_the_text() -> None:
    put("text", "Something", "about embeddings")
    put("title", "About embeddings", "something")
    put("tag", "Anything", "at all", tags=["embeddings"])
    assert found("embeddings") == ["title", "tag", "text"]


def test_indexing_again_replaces() -> None:
    put("one", "The old title")
    put("one", "A new name")
    assert (found("old"), found("name")) == ([], ["one"])
    assert SearchDocument.objects.count() == 1


def test_each_language_has_its_own_document() -> None:
    put("one", "Streaming", language="en")
    put("one", "Streaming 流式输出", language="zh-hans")
    assert len(found("streaming")) == 2
    assert found("streaming", language="en") == ["one"]
    forget(kind="note", object_id="one")
    assert found("streaming") == []


def test_the_longest_text_can_be_indexed() -> None:
    put("one", "t" * 300, "中文字符串" * 20_000)
    put("two", "t", " ".join(f"{number:x}{'y' * 60}" for number in range(5_000)))
    assert found("字符") == ["one"]


def test_the_page_shows_why(client: Client) -> None:
    put("one", "Streaming <b>", "It ends " + "and so on " * 40 + "when <i>max_tokens</i> is reached.")
    page = client.get("/search/", {"q": "max_tokens"}).content.decode()
    assert "Streaming &lt;b&gt;" in page
    assert ">max_tokens</mark>" in page
    assert "&lt;i&gt;" in page


def test_the_page_without_a_query_and_without_a_result(client: Client) -> None:
    assert client.get("/search/").status_code == 200
    assert "Nothing found" in client.get("/search/", {"q": "zzzz"}).content.decode()


def test_an_excerpt_ends_between_words() -> None:
    pieces = excerpt("streaming " * 40, "streaming")
    assert "".join(piece.text for piece in pieces).endswith("streaming…")
    assert len("".join(piece.text for piece in excerpt("流式输出" * 100, "输出"))) > 150

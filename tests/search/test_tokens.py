"""Words of a text: the same for what is indexed and what is looked for."""

import pytest

from search import tokens


def test_it_works() -> None:
    assert tokens.vector(title="流式输出", tags="python", body="max_tokens") == (
        "'流式':1A '式输':2A '输出':3A '出':4A 'python':6B 'max_tokens':8C 'max':8C 'tokens':9C"
    )


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("令牌", "('令牌')"),
        ("流式输出", "('流式' <-> '式输' <-> '输出')"),
        ("令", "('令':*)"),
        ("429", "('429':*)"),
        ("a", "('a')"),
        ("Ｔｏｋｅｎ", "('token':*)"),
        ("max_tokens", "('max_tokens':* | ('max' <-> 'tokens':*))"),
        ("gpt-4.1", "('gpt-4.1':* | ('gpt' <-> '4' <-> '1'))"),
        ("使用max_tokens", "('使用') & ('max_tokens':* | ('max' <-> 'tokens':*))"),
        ("c++ or C#", "('c++':*) & ('or') & ('c#')"),
        ("  ?! ", ""),
        ("it's \\ ' :* & | !", "('it') & ('s')"),
    ],
)
def test_queries(text: str, query: str) -> None:
    assert tokens.query(text) == query


def test_a_query_is_bounded() -> None:
    assert tokens.query("word " * 1000).count("&") == tokens.MAX_QUERY_WORDS - 1


def test_a_vector_is_bounded() -> None:
    body = " ".join(f"w{number}" for number in range(tokens.MAX_TOKENS * 2))
    assert tokens.vector(title="", body=body).count(":") == tokens.MAX_TOKENS

"""Markdown becomes an article: samples as tabs, values filled in, headings that can be linked."""

from datetime import date

import pytest

from docs_site import rendering
from docs_site.samples import Values, fences, grouped, playground_query
from docs_site.tutorials import Tutorial

VALUES = Values(portal_url="https://llm.example.com", chat_model="qwen3", embedding_model="bge", has_models=True)
SAMPLE = """```bash expect="x"
curl {{ base_url }}/chat/completions -d '{"model": "{{ chat_model }}",
  "messages": [{"role": "user", "content": "Hi & <b>"}]}'
```
```python
print("{{ embedding_model }}")
```
"""


def tutorial(body: str) -> Tutorial:
    return Tutorial("page", "en", "Title", "Summary.", "Section", 10, date(2026, 11, 22), body)


def html(body: str) -> str:
    return rendering.article(tutorial(body), VALUES).html


@pytest.mark.django_db
def test_it_works() -> None:
    page = html(f"Before.\n\n{SAMPLE}\nAfter.")
    assert page.count('role="tabpanel"') == 2
    assert 'aria-label="curl"' in page
    assert 'data-value="python"' in page
    assert "https://llm.example.com/v1/chat/completions" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.index("Before.") < page.index("curl") < page.index("After.")


def test_headings_become_contents() -> None:
    article = rendering.article(tutorial("## One {#first}\n\n### The `code` & more {#second}\n"), VALUES)
    assert [(heading.level, heading.id, heading.text) for heading in article.contents] == [
        (2, "first", "One"),
        (3, "second", "The code & more"),
    ]
    assert 'id="second"' in article.html


def test_a_single_block_is_no_set_of_tabs() -> None:
    page = html("```json\n{}\n```\n")
    assert "tabpanel" not in page
    assert "<pre" in page


def test_prose_between_blocks_separates_samples() -> None:
    parts = list(grouped("```bash\na\n```\n\n```python\nb\n```\n\nText.\n\n```text\nc\n```\n```bash\nd\n```\n"))
    shapes = [part.strip() if isinstance(part, str) else [fence.code for fence in part] for part in parts]
    assert shapes == [["a", "b"], "Text.", ["c"], ["d"]]


def test_the_playground_is_asked_what_the_sample_asks() -> None:
    group = list(fences(VALUES.fill(SAMPLE)))
    assert playground_query(group) == "model=qwen3&prompt=Hi+%26+%3Cb%3E"


def test_a_sample_that_is_no_chat_has_no_playground_link() -> None:
    assert playground_query(list(fences(SAMPLE.replace("/chat/completions", "/embeddings")))) == ""


def test_a_sample_may_decline_the_playground_link() -> None:
    assert playground_query(list(fences(SAMPLE.replace('expect="x"', 'playground="no"')))) == ""


def test_another_model_is_another_article() -> None:
    body = "The model is `{{ chat_model }}`."
    assert "<code>qwen3</code>" in html(body)
    other = Values(portal_url="http://localhost", chat_model="gemma", embedding_model="", has_models=True)
    assert "<code>gemma</code>" in rendering.article(tutorial(body), other).html


def test_callouts_are_admonitions() -> None:
    assert 'class="admonition warning"' in html("> [!WARNING]\n> Mind the gap.\n")


def test_reading_time_counts_both_scripts() -> None:
    assert tutorial("word " * 1000).minutes == 5
    assert tutorial("字" * 1600).minutes == 4
    assert tutorial("short").minutes == 1

"""A model's answer as HTML: safe, and with its own tags still to be read."""

import re

import pytest

from common import markdown
from playground.rendering import render_answer


def test_it_works() -> None:
    assert render_answer("**Bold** and `code`") == "<p><strong>Bold</strong> and <code>code</code></p>\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>\nHm.\n</think>\nYes", "&lt;think&gt;"),
        ("Use `<div>` here", "<code>&lt;div&gt;</code>"),
        ("a < b and b > a", "a &lt; b"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("- ```html\n  <b>x</b>\n  ```", "&lt;"),
        ("<https://example.org>", 'href="https://example.org"'),
    ],
)
def test_tags_stay_readable(text: str, shown: str) -> None:
    assert shown in str(render_answer(text))


def test_fenced_code_keeps_its_characters_and_its_colors() -> None:
    html = str(render_answer("```html\n<p>Hi</p>\n```\nafter <b>"))

    assert 'class="nt"' in html
    assert "after &lt;b&gt;" in html


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript:alert(1))",
        "<img src=x onerror=alert(1)>",
        "![x](data:text/html,<script>)",
        "\ue000script>alert(1)\ue000/script>",
        "```\n<script>\n``` <script>alert(1)</script>",
        "~~~\n```\n<script>x</script>",
    ],
)
def test_nothing_of_it_becomes_code(text: str) -> None:
    html = str(render_answer(text))

    assert "<script" not in html
    assert "javascript:" not in html
    assert "<img" not in html


def test_what_is_too_long_to_render_is_left_to_be_shown_as_it_is() -> None:
    assert render_answer("x" * (markdown.MAX_CHARACTERS + 1)) is None


def test_headings_skip_no_level() -> None:
    html = str(render_answer("### A\n\n##### B\n\n### C\n\n# D\n\n## E\n"))

    assert re.findall(r"<h(\d)>(\w)", html) == [("3", "A"), ("4", "B"), ("3", "C"), ("3", "D"), ("4", "E")]

"""From a tutorial's Markdown to the article that a page shows, and to the plain text that other programs read."""

import re
from dataclasses import dataclass
from functools import lru_cache

from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from markdown import Markdown
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pymdownx.slugs import slugify

from common.markdown import plain_text
from docs_site import samples
from docs_site.samples import Fence, Values
from docs_site.tutorials import Tutorial

EXTENSIONS = [
    "abbr",
    "attr_list",
    "def_list",
    "md_in_html",
    "sane_lists",
    "tables",
    "toc",
    "pymdownx.quotes",
    "pymdownx.tilde",
]
BLOCK = "\ue000{}\ue001"  # private-use characters: no tutorial contains them, and Markdown leaves them alone
BLOCK_PARAGRAPH = re.compile(r"<p>\ue000(\d+)\ue001</p>")
HEADING_ID = re.compile(r"^(#{1,6} .*?)[ ]*\{#[\w-]+\}[ ]*$", re.MULTILINE)
FENCE_INFO = re.compile(r"^(```\w+)[^\n]+$", re.MULTILINE)
LOCAL_LINK = re.compile(r"\]\((/[^)]*)\)")
FORMATTER: "HtmlFormatter[str]" = HtmlFormatter(nowrap=True)


@dataclass(frozen=True)
class Heading:
    """One line of a table of contents."""

    level: int
    id: str
    text: str


@dataclass(frozen=True)
class Article:
    html: SafeString
    contents: list[Heading]


@dataclass(frozen=True)
class Tab:
    """One way to write a sample, ready for the page."""

    fence: Fence
    html: SafeString


def article(tutorial: Tutorial, values: Values) -> Article:
    """The article of `tutorial` with its placeholders filled."""
    return _article(values.fill(tutorial.body), get_language() or tutorial.language)


def plain(tutorial: Tutorial, values: Values) -> str:
    """The twin of the page: Markdown as any program reads it, with whole addresses and nothing only we understand."""
    text = FENCE_INFO.sub(r"\1", HEADING_ID.sub(r"\1", values.fill(tutorial.body)))
    text = LOCAL_LINK.sub(rf"]({values.portal_url}\1)", text)
    return f"# {tutorial.title}\n\n> {tutorial.summary}\n\n{text}"


# The text itself is the key, so that an edited page, another address or another model is never served stale. Rendering
# takes ten milliseconds, once per process and language.
@lru_cache(maxsize=256)
def _article(text: str, language: str) -> Article:
    blocks: list[str] = []
    prose: list[str] = []
    for part in samples.grouped(text):
        if isinstance(part, str):
            prose.append(part)
        else:
            prose.append(BLOCK.format(len(blocks)))
            blocks.append(_block(part, number=len(blocks)))
    converter = Markdown(
        extensions=EXTENSIONS,
        extension_configs={
            "toc": {
                "permalink": "#",
                "permalink_class": "headerlink",
                "permalink_title": "",
                "slugify": slugify(case="lower"),
            },
            "pymdownx.quotes": {"callouts": True},
        },
    )
    html = converter.convert("\n\n".join(prose))
    html = BLOCK_PARAGRAPH.sub(lambda match: blocks[int(match[1])], html)
    # Written by the project's own staff and reviewed like code, so it takes no allow-list.
    return Article(html=mark_safe(html), contents=_contents(converter))  # noqa: S308


def _block(group: list[Fence], *, number: int) -> str:
    tabs = [Tab(fence=fence, html=_highlighted(fence)) for fence in group]
    name = "docs_site/sample.html" if group[0].is_sample else "docs_site/output.html"
    query = samples.playground_query(group)
    return render_to_string(name, {"tabs": tabs, "number": number, "playground_query": query})


def _highlighted(fence: Fence) -> SafeString:
    return mark_safe(highlight(fence.code, get_lexer_by_name(fence.language), FORMATTER).rstrip("\n"))  # noqa: S308


def _contents(converter: Markdown) -> list[Heading]:
    found: list[Heading] = []

    def walk(tokens: list[dict[str, object]]) -> None:
        for token in tokens:
            found.append(
                Heading(level=int(str(token["level"])), id=str(token["id"]), text=plain_text(str(token["name"])))
            )
            children = token["children"]
            if isinstance(children, list):
                walk(children)

    walk(converter.toc_tokens)  # type: ignore[attr-defined]
    return found

"""What is done with tutorials besides showing them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import transaction

from docs_site import current
from docs_site.samples import FENCE, Values
from docs_site.tutorials import CONTENT, Tutorial, tutorial
from search import services as search
from search.models import SearchDocument

SEARCH_KIND = "docs"
HEADING = re.compile(r"^#{2,6} (?P<text>.*?) *\{#(?P<id>[\w-]+)\} *$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
CALLOUT = re.compile(r"^> ?(?:\[!\w+\] *)?", re.MULTILINE)
SYNTAX = re.compile(r"\*\*|`|^\| ?-[-| ]*$|\| ?|^[-*] ", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """A piece of a page that can be linked to. `id` is empty for what stands before the first heading."""

    id: str
    title: str
    text: str


@transaction.atomic
def index_tutorials() -> None:
    """Make every section of every page findable, in each language, as the pages are now."""
    SearchDocument.objects.filter(kind=SEARCH_KIND).delete()
    values = current.values()
    for path in sorted(CONTENT.glob("*/*.md")):
        page = tutorial(path.stem, path.parent.name)
        if page is None:
            continue
        for section in sections(page, values):
            anchor = f"#{section.id}" if section.id else ""
            search.index(
                kind=SEARCH_KIND,
                object_id=page.slug + anchor,
                title=f"{section.title} · {page.title}" if section.id else page.title,
                # Found by its own name, the page itself comes before its sections.
                tags=[] if section.id else [page.title],
                body=section.text,
                url=f"/docs/{page.slug}/{anchor}",
                language=page.language,
            )


def sections(page: Tutorial, values: Values) -> Iterator[Section]:
    """The sections of `page` as text without markup; the summary comes with the first."""
    body = FENCE.sub("", values.fill(page.body))
    headings = list(HEADING.finditer(body))
    starts = [*(heading.start() for heading in headings), len(body)]
    yield Section("", page.title, f"{page.summary}\n{_plain(body[: starts[0]])}".strip())
    for heading, end in zip(headings, starts[1:], strict=True):
        yield Section(heading["id"], _plain(heading["text"]), _plain(body[heading.end() : end]))


def _plain(text: str) -> str:
    return SYNTAX.sub("", CALLOUT.sub("", LINK.sub(r"\1", text))).strip()

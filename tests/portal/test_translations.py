"""Chinese is whole: every message of the sources is translated, and every page speaks it."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from itertools import chain
from pathlib import Path

import allauth
import django
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from django.conf import settings
from django.utils.translation.template import templatize

from accounts.models import Plan
from catalog.models import HostedModel
from community.models import Post
from forum.models import Question
from tests.pages import PAGES, Page
from tests.portal.conftest import World
from usage.models import CreditGrant, CreditRevocation

ROOT = Path(settings.BASE_DIR)
OURS = ROOT / "locale/zh_Hans/LC_MESSAGES/django.po"
PACKAGES = ROOT / "locale/packages/zh_Hans/LC_MESSAGES/django.po"
PACKAGES_IN_ENGLISH = ROOT / "locale/packages/en/LC_MESSAGES/django.po"
APPS = sorted({path.parent for path in ROOT.glob("*/__init__.py")} - {ROOT / "tests", ROOT / "benchmarks"})

SAME_IN_CHINESE = {"CSV", "HTML", "Markdown", "Shell", "Top P", "“%(name)s”"}
"""Names, which Chinese writes as English does."""

KEYWORDS: dict[str, tuple[int | tuple[int, str], ...] | None] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "npgettext_lazy": ((1, "c"), 2, 3),
}

Key = tuple[str | None, str]


def in_sources() -> Iterator[Key]:
    """The context and the singular of every message, found by Babel: GNU gettext may not be installed."""
    for path in chain.from_iterable(app.rglob("*.py") for app in APPS):
        yield from messages_in(path.read_bytes())
    for path in chain((ROOT / "templates").rglob("*.html"), (ROOT / "templates").rglob("*.txt")):
        # Django turns a template into something like Python, whose indentation means nothing.
        lines = templatize(path.read_text(), origin=str(path)).splitlines()
        yield from messages_in("\n".join(line.lstrip() for line in lines).encode())


def messages_in(python: bytes) -> Iterator[Key]:
    options = {"encoding": "utf-8"}
    for _line, message, _comments, context in extract("python", BytesIO(python), keywords=KEYWORDS, options=options):
        yield context, message[0] if isinstance(message, tuple) else message


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale="zh_Hans", abort_invalid=True)


def forms(text: str | tuple[str, ...] | list[str] | None) -> list[str]:
    return list(text) if isinstance(text, tuple | list) else [text or ""]


def entries(path: Path) -> list[Message]:
    return [message for message in read(path) if message.id]


def key(message: Message) -> Key:
    return message.context, forms(message.id)[0]


def agree(pattern: str, message: Message) -> bool:
    """Whether each translation has the same pieces matching `pattern` as the last form of the original."""
    wanted = sorted(re.findall(pattern, forms(message.id)[-1]))
    return all(sorted(re.findall(pattern, text)) == wanted for text in forms(message.string))


def test_every_message_of_the_sources_is_there_and_no_other() -> None:
    sources, translated = set(in_sources()), {key(message) for message in entries(OURS)}
    assert len(sources) > 900
    missing, stale = sources - translated, translated - sources
    assert not missing, "gather the messages and translate these (docs/contributing/translations.md)"
    assert not stale, "gather the messages, which takes out what is no longer said"
    assert not read(OURS).obsolete


@pytest.mark.parametrize("path", [OURS, PACKAGES], ids=["ours", "packages"])
def test_nothing_is_untranslated_or_fuzzy(path: Path) -> None:
    assert not [key(message) for message in entries(path) if not all(forms(message.string)) or message.fuzzy]


@pytest.mark.parametrize("path", [OURS, PACKAGES], ids=["ours", "packages"])
def test_no_translation_equals_its_original(path: Path) -> None:
    same = {key(message)[1] for message in entries(path) if key(message)[1] in forms(message.string)}
    assert same <= SAME_IN_CHINESE


def said_by_packages() -> set[Key]:
    modules = (django, allauth)
    catalogs = chain.from_iterable(
        Path(module.__path__[0]).rglob("zh_Hans/LC_MESSAGES/django.po") for module in modules
    )
    return {key(message) for catalog in catalogs for message in entries(catalog)}


@pytest.mark.parametrize("path", [PACKAGES, PACKAGES_IN_ENGLISH], ids=["chinese", "english"])
def test_packages_still_say_what_is_said_better_here(path: Path) -> None:
    assert not {key(message) for message in entries(path)} - said_by_packages()


@pytest.mark.parametrize("path", [OURS, PACKAGES, PACKAGES_IN_ENGLISH], ids=["ours", "packages", "packages in English"])
@pytest.mark.parametrize(
    "pattern", [r"%\(\w+\)[sd]|%%|%[sd]", r"\{\w*\}", r"<[^>]+>", r"https?://"], ids=lambda pattern: pattern
)
def test_placeholders_and_markup_agree(path: Path, pattern: str) -> None:
    assert not [key(message) for message in entries(path) if not agree(pattern, message)]


@pytest.mark.parametrize("path", [OURS, PACKAGES], ids=["ours", "packages"])
def test_chinese_is_set_by_the_house_rules(path: Path) -> None:
    han = r"[\u4e00-\u9fff]"
    broken = {
        "a typed space beside Han": rf"{han} [A-Za-z0-9%]|[A-Za-z0-9] {han}",
        "full-width letters or figures": r"[０-９Ａ-Ｚａ-ｚ]",
        "half-width punctuation after Han": rf"{han}[,;:?!]|{han}\.(?!\w)",
        "the polite form": "您",
    }
    for rule, pattern in broken.items():
        texts = [text for message in entries(path) for text in forms(message.string)]
        assert not [text for text in texts if re.search(pattern, text)], rule


ENGLISH = re.compile(r"\b[A-Za-z’']+,? [a-z’']+,? [a-z’']+\b")
"""Three words in a row: no name that stands in Chinese text has as many, and few sentences have fewer."""


class VisibleText(HTMLParser):
    """Collects what a page says itself: no code, and nothing marked as being in another language."""

    SILENT = frozenset({"script", "style", "code", "pre", "kbd", "textarea", "template"})
    VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
    SPOKEN = ("aria-label", "title", "placeholder", "alt", "data-confirm", "data-label")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.texts: list[str] = []
        self.language: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        here = dict(attrs)
        if tag == "html":
            self.language = here.get("lang")
        silent = self.is_silent or tag in self.SILENT or (here.get("lang") or "zh").partition("-")[0] != "zh"
        if not silent:
            self.texts.extend(here[name] or "" for name in self.SPOKEN if name in here)
        if tag not in self.VOID:
            self.open.append((tag, silent))

    def handle_endtag(self, tag: str) -> None:
        while any(name == tag for name, _silent in self.open) and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self.is_silent:
            self.texts.append(data)

    @property
    def is_silent(self) -> bool:
        return bool(self.open) and self.open[-1][1]


def written_by_people() -> list[str]:
    """What stands on pages in the language of whoever wrote it."""
    return [
        *HostedModel.objects.values_list("description", flat=True),
        *Plan.objects.values_list("description", flat=True),
        *Question.objects.values_list("title", flat=True),
        *Post.objects.values_list("source", flat=True),
        *CreditGrant.objects.values_list("reason", flat=True),
        *CreditRevocation.objects.values_list("reason", flat=True),
    ]


def without(text: str, parts: list[str]) -> str:
    for part in parts:
        text = text.replace(part, "")
    return text


@pytest.mark.django_db
@pytest.mark.parametrize("entry", PAGES, ids=lambda entry: entry.name)
def test_a_page_in_chinese_has_no_english_sentence(entry: Page, world: World) -> None:
    address = entry.path.format(**world.names)
    response = world.visitors[entry.who].get(address, headers={"accept-language": "zh-hans"})
    page = VisibleText()
    page.feed(response.content.decode())
    assert response.status_code == 200
    assert page.language == "zh-hans"
    written = written_by_people()
    assert not [text for text in page.texts if ENGLISH.search(without(text, written))]

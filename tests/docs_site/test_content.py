"""The tutorials that are there: complete in both languages, every link whole, every error explained."""

import ast
import json
import re
from collections.abc import Iterator

import pytest
from django.urls import Resolver404, resolve

from common import errors
from docs_site.samples import FENCE, JSON_ARGUMENT, Values, fences
from docs_site.tutorials import CONTENT, Tutorial, all_tutorials, tutorial

VALUES = Values(portal_url="http://localhost", chat_model="chat", embedding_model="embed", has_models=True)
ENGLISH = all_tutorials("en")
PAGES = [*ENGLISH, *all_tutorials("zh-hans")]
HEADING = re.compile(r"^(#+) .*?(?:\{#([\w-]+)\})?[ ]*$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def each(pages: list[Tutorial]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("written", pages, ids=lambda page: f"{page.language}/{page.slug}")


def prose(page: Tutorial) -> str:
    return FENCE.sub("", page.body)


def headings(page: Tutorial) -> list[tuple[int, str]]:
    return [(len(level), identifier) for level, identifier in HEADING.findall(prose(page))]


def codes() -> Iterator[str]:
    """Every code that an error under /v1 can have: those of the classes, and those given where one is raised."""
    classes = [errors.ApiError]
    for kind in classes:
        classes += kind.__subclasses__()
        if kind.default_code:
            yield kind.default_code
    for package in ("batches", "gateway", "inference", "usage"):
        for path in (CONTENT.parents[1] / package).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                # What a form or the REST API refuses is no error under /v1.
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") != "RefusedError":
                    given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                    yield from (str(value.value) for value in given if isinstance(value, ast.Constant) and value.value)


def test_it_works() -> None:
    assert [page.slug for page in ENGLISH] == [
        "quickstart",
        "streaming",
        "embeddings",
        "batches",
        "errors-and-retries",
        "usage-api",
    ]


@each(ENGLISH)
def test_the_translation_is_there_and_has_the_same_build(written: Tutorial) -> None:
    chinese = tutorial(written.slug, "zh-hans")
    assert chinese
    assert chinese.language == "zh-hans"
    assert headings(chinese) == headings(written)
    assert [fence.language for fence in fences(chinese.body)] == [fence.language for fence in fences(written.body)]
    assert chinese.order == written.order
    assert chinese.title != written.title


@each(PAGES)
def test_every_heading_has_an_id_of_its_own(written: Tutorial) -> None:
    identifiers = [identifier for _level, identifier in headings(written)]
    assert all(identifiers)
    assert len(set(identifiers)) == len(identifiers)


@each(PAGES)
def test_every_link_leads_somewhere(written: Tutorial) -> None:
    for link in LINK.findall(prose(written)):
        path, _hash, anchor = link.partition("#")
        target = written
        if path.startswith("/docs/"):
            found = tutorial(path.removeprefix("/docs/").strip("/"), written.language)
            assert found, link
            target = found
        elif path:
            try:
                resolve(path)
            except Resolver404:
                pytest.fail(f"{link} leads nowhere")
        assert not anchor or anchor in {identifier for _level, identifier in headings(target)}, link


@each(PAGES)
def test_every_sample_says_what_it_prints(written: Tutorial) -> None:
    for fence in fences(written.body):
        if fence.is_runnable:
            re.compile(fence.attributes["expect"])
        assert (
            re.search(r"\$LYCEUM_(API|ADMIN)_KEY", fence.code) or fence.language != "bash" or "curl" not in fence.code
        )


@each(PAGES)
def test_what_curl_sends_is_json(written: Tutorial) -> None:
    for fence in fences(VALUES.fill(written.body)):
        if fence.language == "bash" and " -d " in fence.code:
            found = JSON_ARGUMENT.search(fence.code)
            assert found
            assert json.loads(found["body"])["model"] in {"chat", "embed", "no-such-model"}


@each(PAGES)
def test_no_placeholder_is_misspelt(written: Tutorial) -> None:
    assert "{{" not in VALUES.fill(written.body)


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_every_error_code_is_explained(language: str) -> None:
    page = tutorial("errors-and-retries", language)
    assert page
    assert set(codes()) - {identifier for _level, identifier in headings(page)} == set()


@each([page for page in PAGES if page.language == "zh-hans"])
def test_chinese_has_no_typed_space_beside_latin(written: Tutorial) -> None:
    text = re.sub(r"^\|.*$|^#.*$|^[-*] ", "", prose(written), flags=re.MULTILINE)
    assert re.findall(r"[\u4e00-\u9fff] [A-Za-z0-9`]|[A-Za-z0-9`] [\u4e00-\u9fff]", text) == []

"""Every section of the tutorials can be found, in the reader's language."""

from datetime import date

import pytest
from django.core.management import call_command
from django.test import Client

from docs_site import current
from docs_site.services import Section, sections
from docs_site.tutorials import Tutorial
from search import services as search

pytestmark = pytest.mark.django_db


@pytest.fixture
def indexed(db: None) -> None:
    call_command("index_docs")


def addresses(text: str, language: str) -> list[str]:
    return [document.url for document in search.find(text, kinds=["docs"], language=language)[:5]]


@pytest.mark.usefixtures("indexed")
def test_it_works() -> None:
    assert "/docs/errors-and-retries/#insufficient_quota" in addresses("insufficient_quota", "en")
    assert "/docs/streaming/#stop" in addresses("stop early", "en")
    assert "/docs/streaming/#stop" in addresses("提前停止", "zh-hans")


def test_a_page_without_headings_is_one_section() -> None:
    page = Tutorial("short", "en", "Short", "All of it.", "Get started", 1, date(2026, 1, 1), "One paragraph.")
    assert list(sections(page, current.values())) == [Section("", "Short", "All of it.\nOne paragraph.")]


@pytest.mark.usefixtures("indexed")
def test_markup_is_not_found() -> None:
    [page] = search.find("Quickstart", kinds=["docs"], language="en")[:1]
    assert page.title == "Quickstart"
    assert not set("`|[") & set(page.body)
    assert "{{" not in page.body


@pytest.mark.usefixtures("indexed")
def test_indexing_again_changes_nothing() -> None:
    before = addresses("token", "en")
    call_command("index_docs")
    assert addresses("token", "en") == before


@pytest.mark.usefixtures("indexed")
def test_a_reader_finds_pages_in_their_language_only(client: Client) -> None:
    page = client.get("/search/?q=insufficient_quota", headers={"accept-language": "en"}).content.decode()
    assert "/docs/errors-and-retries/#insufficient_quota" in page
    assert "每一种错误" not in page

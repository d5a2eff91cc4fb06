"""An owner makes a cohort, somebody joins it by its link, and is removed again: in a browser."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect

from accounts.models import JoinLink, User

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def contexts(browser: Browser) -> Iterator[list[BrowserContext]]:
    opened: list[BrowserContext] = []
    yield opened
    for context in opened:
        context.close()


def page_of(client: Client, browser: Browser, contexts: list[BrowserContext], url: str) -> Page:
    """A window of the browser with the session that a test client has."""
    context = browser.new_context(base_url=url)
    contexts.append(context)
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])
    return context.new_page()


def test_it_works(
    live_server: Any,
    browser: Browser,
    contexts: list[BrowserContext],
    ada_client: Client,
    cyd: User,
    cyd_client: Client,
) -> None:
    owner = page_of(ada_client, browser, contexts, live_server.url)
    owner.goto("/settings/")
    owner.get_by_role("button", name="Project").click()
    owner.get_by_role("link", name="New organization").click()
    owner.get_by_label("Name").fill("Computer Science")
    owner.get_by_role("button", name="Make the organization").click()
    expect(owner.get_by_role("heading", name="Members", level=1)).to_be_visible()

    owner.get_by_role("navigation", name="Workspace").get_by_role("link", name="Cohorts").click()
    owner.get_by_role("link", name="New cohort").click()
    owner.get_by_label("Name").fill("Compilers 101")
    owner.get_by_label("Last day").fill("2050-06-30")
    owner.get_by_role("button", name="Make the cohort").click()
    expect(owner.get_by_text("0 of 30 places are taken.")).to_be_visible()
    link = owner.locator("pre").inner_text()
    assert link.endswith(f"/join/{JoinLink.objects.get().token}/")

    participant = page_of(cyd_client, browser, contexts, live_server.url)
    # The portal's public address is not that of the server under test.
    participant.goto(re.sub(r"^https?://[^/]+", "", link))
    participant.get_by_role("button", name="Join").click()
    expect(participant).to_have_url(re.compile("/quickstart/$"))
    expect(participant.get_by_role("button", name="Project")).to_contain_text("Compilers 101")
    rail = participant.get_by_role("navigation", name="Workspace")
    expect(rail.get_by_role("link", name="Keys")).to_be_visible()
    expect(rail.get_by_role("link", name="Members")).to_be_hidden()

    owner.reload()
    expect(owner.get_by_text("1 of 30 places are taken.")).to_be_visible()
    owner.get_by_role("link", name="Manage Cyd").click()
    owner.get_by_role("button", name="Remove from the organization").click()
    dialog = owner.get_by_role("dialog", name="Remove Cyd?")
    expect(dialog).to_contain_text("stop working")
    dialog.get_by_role("button", name="Remove").click()
    expect(owner.get_by_text("Cyd is removed and reaches nothing here any more.")).to_be_visible()
    participant.goto("/keys/")
    expect(participant.get_by_role("button", name="Project")).not_to_contain_text("Compilers 101")
    participant.goto(re.sub(r"^https?://[^/]+", "", link))
    participant.get_by_role("button", name="Join").click()
    expect(participant.get_by_text("This link lets nobody back in who was removed")).to_be_visible()

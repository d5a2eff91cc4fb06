"""Every page in a browser: accessible, no wider than the screen, and quiet under the security policy."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, expect

from accounts.models import Project, User
from common.ids import uuid7
from tests.pages import PAGES, Who, build_world
from tests.usage.ledger import a_key
from tests.usage.test_ingest import event
from usage.ingest import insert_all

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

DESK = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=390, height=844)
MAIN_SCRIPT_BYTES = 30_000
STYLE_BYTES = 30_000
# Where a table scrolls it has a scroller; where it does not, what is to the right of its frame cannot be reached.
CUT_TABLES = """() => [...document.querySelectorAll(".table-wrap")].some(
    (wrap) => getComputedStyle(wrap).overflowX === "clip" && wrap.firstElementChild.offsetWidth > wrap.clientWidth
)"""


@pytest.fixture
def world(ada: User, cyd: User, sam: User) -> dict[str, str]:
    return build_world(ada=ada, cyd=cyd, sam=sam)


SignIn = Callable[[BrowserContext, Client], None]


@pytest.fixture
def sign_in(live_server: Any) -> SignIn:
    """Gives a browser the session that a test client already has."""

    def give(context: BrowserContext, client: Client) -> None:
        name = settings.SESSION_COOKIE_NAME
        context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])

    return give


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The folder of the built front end."""
    folder = Path(settings.BASE_DIR) / "static" / "dist"
    assert (folder / "manifest.json").exists(), "The front end is not built: `python3 lyceum.py test` builds it first."
    return folder


@pytest.fixture
def contexts(browser: Browser) -> Iterator[list[BrowserContext]]:
    opened: list[BrowserContext] = []
    yield opened
    for context in opened:
        context.close()


@pytest.mark.parametrize(
    ("size", "theme", "language"),
    [(DESK, "light", "en"), (DESK, "dark", "zh-hans"), (PHONE, "light", "zh-hans"), (PHONE, "dark", "en")],
    ids=["desk-light-en", "desk-dark-zh", "phone-light-zh", "phone-dark-en"],
)
def test_every_page(
    size: ViewportSize,
    theme: str,
    language: str,
    world: dict[str, str],
    browser: Browser,
    bundle: Path,
    contexts: list[BrowserContext],
    live_server: Any,
    sign_in: SignIn,
    client: Client,
    ada_client: Client,
    sam_client: Client,
) -> None:
    people = {Who.ANYONE: client, Who.MEMBER: ada_client, Who.STAFF: sam_client}
    problems: list[str] = []
    for who, person in people.items():
        context = browser.new_context(viewport=size)
        contexts.append(context)
        context.add_cookies(
            [
                {"name": "theme", "value": theme, "url": live_server.url},
                {"name": "language", "value": language, "url": live_server.url},
            ]
        )
        if who is not Who.ANYONE:
            sign_in(context, person)
        page = context.new_page()
        complaints = listen(page)
        for entry in PAGES:
            if entry.who is who:
                complaints.clear()
                page.goto(live_server.url + entry.path.format(**world))
                problems += [f"{entry.name}: {problem}" for problem in [*look_at(page), *complaints]]
    assert problems == []


def listen(page: Page) -> list[str]:
    """What the browser will complain about: refused by the security policy, missing, or failed in a script."""
    heard: list[str] = []

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            heard.append(message.text)

    page.on("console", console)
    page.on("pageerror", lambda error: heard.append(str(error)))
    return heard


def look_at(page: Page) -> list[str]:
    """What is wrong with the page that is open."""
    found = [
        f"{violation['id']} at {node['target']}"
        for violation in Axe().run(page).response["violations"]
        for node in violation["nodes"]
    ]
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        found.append("wider than the screen")
    if page.evaluate(CUT_TABLES):
        found.append("has a table whose last column is cut off")
    if page.locator("h1").count() != 1:
        found.append("has not exactly one h1")
    return found


def test_long_names_and_large_figures_leave_tables_whole(
    world: dict[str, str],
    project: Project,
    ada: User,
    live_server: Any,
    browser: Browser,
    contexts: list[BrowserContext],
    sign_in: SignIn,
    ada_client: Client,
    sam_client: Client,
) -> None:
    long = "a-name-of-sixty-characters-which-has-no-space-to-break-it-at"
    key = a_key(project, name=long, created_by=ada)
    now = timezone.now()
    told: Any = {
        "model": long, "key_id": key.public_id, "source": "key", "latency_ms": 129_000, "first_token_ms": 64_000,
        "prompt_tokens": 1_234_567, "cached_tokens": 1_234_000, "completion_tokens": 123_456, "is_streamed": True,
        "cost_nano": 12_345_678_000_000, "backend": "a-server-with-a-name-of-sixty-characters-and-none-to-break",
        "organization_id": project.organization.public_id, "project_id": project.public_id,
    }  # fmt: skip
    insert_all([event(id=uuid7(milliseconds=int(now.timestamp() * 1000)).hex, **told)])
    pages = {
        "/usage/?group=key": ada_client,
        "/usage/calls/": ada_client,
        "/operations/": sam_client,
        "/operations/organizations/{organization}/": sam_client,
        "/organizations/{organization}/statements/{month}/": ada_client,
    }
    context = browser.new_context(viewport=DESK)
    contexts.append(context)
    page = context.new_page()
    cut = []
    for path, person in pages.items():
        sign_in(context, person)
        for language in ("en", "zh-hans"):
            context.add_cookies([{"name": "language", "value": language, "url": live_server.url}])
            page.goto(live_server.url + path.format(**world))
            if page.evaluate(CUT_TABLES):
                cut.append(f"{path} in {language}")
    assert cut == []
    # On a sheet of A4 the name is not squeezed to a letter a line.
    page.set_viewport_size({"width": 794, "height": 1123})
    page.emulate_media(media="print")
    page.goto(live_server.url + "/organizations/{organization}/statements/{month}/".format(**world))
    name = page.get_by_role("rowheader", name=long).first
    assert name.evaluate("cell => cell.offsetWidth") > 150
    assert not page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


def test_the_theme_is_kept_without_a_script(live_server: Any, browser: Browser, contexts: list[BrowserContext]) -> None:
    context = browser.new_context(java_script_enabled=False)
    contexts.append(context)
    page = context.new_page()
    page.goto(f"{live_server.url}/docs/")
    page.get_by_role("button", name="Language and theme").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_theme_changes_at_once(live_server: Any, page: Page) -> None:
    page.goto(f"{live_server.url}/docs/")
    page.get_by_role("button", name="Language and theme").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_rail_is_a_sheet_on_a_phone(live_server: Any, page: Page, ada_client: Client, sign_in: SignIn) -> None:
    sign_in(page.context, ada_client)
    page.set_viewport_size(PHONE)
    page.goto(f"{live_server.url}/settings/")
    rail = page.get_by_role("navigation", name="Workspace")
    expect(rail).to_be_hidden()
    page.get_by_role("button", name="Navigation").click()
    rail.get_by_role("link", name="Keys").click()
    expect(page).to_have_url(f"{live_server.url}/keys/")


def test_the_rail_shows_where_one_is(live_server: Any, page: Page, sam_client: Client, sign_in: SignIn) -> None:
    sign_in(page.context, sam_client)
    rail = page.get_by_role("navigation", name="Workspace")
    page.set_viewport_size({"width": 1280, "height": 600})
    page.goto(f"{live_server.url}/plans/")
    expect(rail.get_by_role("link", name="Plans")).to_be_in_viewport(ratio=1)
    page.set_viewport_size({"width": 390, "height": 600})
    page.reload()
    page.get_by_role("button", name="Navigation").click()
    expect(rail.get_by_role("link", name="Plans")).to_be_in_viewport(ratio=1)


def test_the_keyboard_goes_anywhere(live_server: Any, page: Page, ada_client: Client, sign_in: SignIn) -> None:
    sign_in(page.context, ada_client)
    page.goto(f"{live_server.url}/settings/")
    page.keyboard.press("Control+k")
    # Until it has the focus, what is typed goes nowhere.
    expect(page.get_by_role("combobox", name="Search or go to a page")).to_be_focused()
    page.keyboard.type("mod")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{live_server.url}/models/")


def test_the_keyboard_skips_to_the_content(live_server: Any, page: Page) -> None:
    page.goto(f"{live_server.url}/docs/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_the_bundle_stays_small(bundle: Path) -> None:
    entry = json.loads((bundle / "manifest.json").read_text())["src/main.ts"]
    script = brotli.compress((bundle / entry["file"]).read_bytes())
    styles = brotli.compress((bundle / entry["css"][0]).read_bytes())
    # The meters of an allowance and of a copy that is being made: a part left out looks as the browser likes.
    assert b".progress" in (bundle / entry["css"][0]).read_bytes()
    assert len(script) <= MAIN_SCRIPT_BYTES
    assert len(styles) <= STYLE_BYTES

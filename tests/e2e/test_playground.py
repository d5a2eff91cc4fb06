"""The workbench in a browser: text as it is written, connections that break, keys, and nothing a model can inject."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, Page, Route, expect

from accounts.models import Project, User
from catalog.models import Backend, Deployment, HostedModel
from common.redis import volatile
from playground import services, streams
from playground.models import Run, RunStatus
from playground.outcomes import Outcome
from portal.asgi import application
from tests.playground.servers import serving

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def portal(transactional_db: None) -> Iterator[str]:
    """The web process as it runs: pages and streams at one address."""
    with serving(application) as address:
        yield address


@pytest.fixture
def model() -> HostedModel:
    model = HostedModel.objects.create(public_name="qwen3-32b")
    backend = Backend.objects.create(name="gpu-1", base_url="http://127.0.0.1:9/v1")
    Deployment.objects.create(hosted_model=model, backend=backend, backend_name="qwen3-32b")
    return model


@pytest.fixture
def run(ada: User, project: Project, model: HostedModel) -> Run:
    """A run of Ada that a worker has in hand."""
    now = timezone.now()
    run = Run.objects.create(
        user=ada,
        project=project,
        title="Say hello",
        model_name="qwen3-32b",
        messages=[{"role": "user", "content": "Say hello"}],
        status=RunStatus.RUNNING,
        worker="worker_1",
        started_at=now,
        heartbeat_at=now,
    )
    streams.open_stream(run.public_id)
    return run


@pytest.fixture
def page(browser: Browser, portal: str, ada_client: Client) -> Iterator[Page]:
    context = browser.new_context(base_url=portal)
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": ada_client.cookies[name].value, "url": portal}])
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert not faults


class Model:
    """What the worker of a run would write."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._text = ""

    def writes(self, *pieces: str) -> None:
        for piece in pieces:
            data: dict[str, Any] = {"at": streams.utf16_length(self._text), "delta": piece}
            volatile().xadd(streams.key_of(self._run.public_id), streams.entry("text", data))  # type: ignore[arg-type]
            self._text += piece

    def ends(self) -> None:
        services.finish_run(run=self._run, outcome=Outcome(text=self._text, prompt_tokens=2, completion_tokens=3))


def address(run: Run) -> str:
    return f"/playground/runs/{run.public_id}/"


def test_it_works(page: Page, run: Run) -> None:
    model = Model(run)
    page.goto(address(run))
    text = page.locator("#answer [data-part=text]")

    # The last character waits for the next: it may be the beginning of a mark.
    model.writes("**Hel")
    expect(text).to_have_text("He")
    model.writes("lo** 😀", " there")
    expect(text.locator("strong")).to_have_text("Hello")
    page.fill("[name=prompt]", "And then?")
    model.ends()

    finished = page.locator("#answer[data-turn]")
    expect(finished).to_contain_text("Hello 😀 there")
    expect(finished).to_contain_text("2 in, 3 out")
    expect(page.locator("[data-run]")).to_be_visible()
    expect(page.locator("[name=prompt]")).to_have_value("And then?")


def test_a_reload_in_the_middle_shows_it_all(page: Page, run: Run) -> None:
    model = Model(run)
    page.goto(address(run))
    model.writes("One ", "two ")
    expect(page.locator("#answer [data-part=text]")).to_have_text("One two")

    page.reload()
    model.writes("three.", " ")

    expect(page.locator("#answer [data-part=text]")).to_have_text("One two three.")


def test_a_refused_ticket_is_exchanged_for_a_new_one(page: Page, run: Run) -> None:
    model = Model(run)
    model.writes("One ")
    page.route("**/stream/runs/**", lambda route: route.fulfill(status=403, body="{}"), times=1)

    page.goto(address(run))
    expect(page.locator("#answer [data-part=text]")).to_have_text("One")
    model.writes("two.", " ")

    expect(page.locator("#answer [data-part=text]")).to_have_text("One two.")


def test_a_stream_that_breaks_off_goes_on_without_a_repetition(page: Page, run: Run) -> None:
    model = Model(run)
    model.writes("One ")
    first = volatile().xrange(streams.key_of(run.public_id))[-1]  # type: ignore[index]

    def cut(route: Route) -> None:
        body = f"retry: 50\n\nid: {first[0]}\nevent: text\ndata: {first[1]['data']}\n\n"
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    page.route("**/stream/runs/**", cut, times=1)
    page.goto(address(run))
    model.writes("two.", " ")

    expect(page.locator("#answer [data-part=text]")).to_have_text("One two.")


def test_nothing_a_model_writes_becomes_code_or_calls_out(page: Page, run: Run) -> None:
    calls: list[str] = []
    page.on("request", lambda request: calls.append(request.url))
    model = Model(run)
    page.goto(address(run))
    model.writes(
        "<img src=https://evil.example/a.png onerror=alert(1)> <script>alert(1)</script>\n\n",
        "[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,x) [d](https://good.example/)\n\n",
        "![e](https://evil.example/b.png) ![f](javascript:alert(1))\n\n```html\n<b>x</b>\n```\n\nend. ",
    )
    text = page.locator("#answer [data-part=text]")
    expect(text).to_contain_text("end")

    links = text.locator("a").evaluate_all("links => links.map(link => [link.textContent, link.getAttribute('href')])")
    shown = {"d": "https://good.example/", "e": "https://evil.example/b.png"}
    assert dict(links) == {"a": None, "b": None, "c": None, "f": None, **shown}
    assert text.locator("img, script, b").count() == 0
    expect(text).to_contain_text("<script>alert(1)</script>")
    assert not [url for url in calls if "evil" in url]


def test_the_keyboard_runs_and_stops(page: Page, model: HostedModel) -> None:
    page.goto("/playground/")
    expect(page.locator("[name=prompt]")).to_be_focused()
    page.keyboard.type("Say hello")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#answer")).to_contain_text("Waiting for a worker")
    expect(page).to_have_url(re.compile("/playground/runs/run_"))
    page.keyboard.press("Escape")

    expect(page.locator("#answer")).to_contain_text("Stopped")
    assert Run.objects.get().status == RunStatus.STOPPED
    page.go_back()
    expect(page.locator("#answer")).to_have_count(0)


def test_a_key_pressed_the_moment_a_run_appears_stops_it(page: Page, model: HostedModel) -> None:
    page.goto("/playground/")
    page.fill("[name=prompt]", "Say hello")
    page.evaluate(
        """() => new MutationObserver((_changes, observer) => {
            if (!document.querySelector("[data-stop]")) return;
            observer.disconnect();
            document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
        }).observe(document.body, { childList: true, subtree: true })"""
    )
    page.click("[data-run]")

    expect(page.locator("#answer")).to_contain_text("Stopped")


def test_messages_are_added_edited_and_removed(page: Page, run: Run) -> None:
    Model(run).ends()
    Run.objects.update(output="An *answer*")
    page.goto(address(run))

    page.locator("#answer .turn-edit summary").click()
    page.fill("#answer textarea", "Another answer")
    page.locator("#answer .turn-edit summary").click()
    expect(page.locator("#answer .turn-plain").last).to_have_text("Another answer")
    page.click("[data-add-turn]")
    page.keyboard.type("A question of mine")
    page.locator("[data-turn]").first.locator("[data-remove-turn]").click()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#answer[aria-busy]")).to_be_visible()

    assert Run.objects.latest("pk").messages == [
        {"role": "assistant", "content": "Another answer"},
        {"role": "user", "content": "A question of mine"},
    ]


def test_the_code_opens_and_closes_without_stopping_the_run(page: Page, run: Run) -> None:
    page.goto(address(run))
    page.get_by_role("button", name="Get code").click()
    expect(page.locator("dialog[open]")).to_contain_text("Say hello")
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)

    run.refresh_from_db()
    assert run.stop_requested_at is None


def test_the_width_of_the_settings_is_remembered(page: Page, model: HostedModel) -> None:
    def width() -> float:
        return float(page.locator("#run-settings").evaluate("side => side.getBoundingClientRect().width"))

    page.goto("/playground/")
    before = width()
    page.get_by_role("separator").press("ArrowLeft")
    assert width() == before + 16
    page.reload()
    expect(page.get_by_role("separator")).to_have_attribute("aria-valuenow", str(int(before) + 16))
    assert width() == before + 16


def test_a_reader_who_scrolled_away_is_left_in_peace(page: Page, run: Run) -> None:
    model = Model(run)
    page.goto(address(run))
    model.writes(*(f"Paragraph {number}.\n\n" for number in range(60)))
    pane = page.locator("[data-part=scroll]")
    expect(pane).to_contain_text("Paragraph 59.")
    assert pane.evaluate("pane => pane.scrollHeight - pane.scrollTop - pane.clientHeight") < 2
    assert page.evaluate("document.scrollingElement.scrollTop") == 0

    pane.evaluate("pane => pane.scrollTop = 100")
    model.writes("The last one.", " ")
    expect(pane).to_contain_text("The last one.")

    assert pane.evaluate("pane => pane.scrollTop") == 100

"""The usage page in a browser: a call appears within five seconds, and nothing is lost or interrupted meanwhile."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, Locator, Page, Route, expect

from accounts.models import Project
from tests.usage.ledger import add_call, add_usage

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]

KATHMANDU = ZoneInfo("Asia/Kathmandu")
FRESH_MS = 5_000
DRAWING_MS = 2_000


@pytest.fixture
def page_of_ada(browser: Browser, live_server: Any, ada_client: Client) -> Iterator[Page]:
    """Its clock stands still but where a test moves it: how busy the machine is makes nothing late."""
    context = browser.new_context(timezone_id="Asia/Kathmandu")
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": ada_client.cookies[name].value, "url": live_server.url}])
    context.clock.install()
    page = context.new_page()
    page.goto(f"{live_server.url}/usage/?window=today")
    # What it asks for at once, as it learns whose days to count by.
    expect(page.get_by_text("Days and hours are those of Asia/Kat")).to_be_visible()
    stop_the_clock(page)
    yield page
    context.close()


def stop_the_clock(page: Page) -> None:
    page.clock.pause_at(page.evaluate("Date.now()") + 1_000)


def five_seconds_pass(page: Page) -> None:
    """Within which the page asks for what is new, and is answered."""
    with page.expect_request_finished(lambda request: "/usage/live/" in request.url):
        page.clock.run_for(FRESH_MS)


def drawn(page: Page) -> list[str]:
    """The names of what the first chart was told to draw."""
    return [
        series["name"] for series in json.loads(page.locator("#usage-requests-data").text_content() or "")["series"]
    ]


def test_it_works(page_of_ada: Page, project: Project) -> None:
    expect(page_of_ada.get_by_text("No call has been made yet")).to_be_visible()
    add_usage(project, timezone.now(), prompt_tokens=30, completion_tokens=12)
    add_call(project, timezone.now(), request_id="req_first", prompt_tokens=30, completion_tokens=12)
    five_seconds_pass(page_of_ada)
    expect(page_of_ada.get_by_text("req_first").locator("visible=true")).to_be_visible()
    expect(page_of_ada.locator("#usage-requests[tabindex='0']")).to_be_visible()
    page_of_ada.clock.run_for(DRAWING_MS)
    kept = page_of_ada.locator("#usage-requests canvas").element_handle()
    picture = kept.evaluate("canvas => canvas.toDataURL()")
    for shown in ("#usage-requests-table", "#usage-by-time"):
        page_of_ada.locator(f"{shown} > summary").click()
    figures = page_of_ada.locator("#usage-requests-table table")
    expect(figures.locator("thead th")).to_have_text(["From", "small"])
    page_of_ada.evaluate("document.activeElement.blur()")
    add_usage(project, timezone.now(), model="large")
    five_seconds_pass(page_of_ada)
    expect(page_of_ada.get_by_role("link", name="large")).to_be_visible()
    assert drawn(page_of_ada) == ["small", "large"]
    # What was opened stays open, and tells the same as the chart.
    expect(page_of_ada.locator("#usage-by-time > .table-wrap")).to_be_visible()
    expect(figures.locator("thead th")).to_have_text(["From", "small", "large", "All"])
    rows = [row.locator("td").all_text_contents() for row in figures.locator("tbody tr").all()]
    assert ["1", "1", "2"] in rows
    page_of_ada.clock.run_for(DRAWING_MS)
    assert kept.evaluate("canvas => canvas.isConnected")
    assert kept.evaluate("canvas => canvas.toDataURL()") != picture


def test_days_are_the_browsers(page_of_ada: Page, project: Project) -> None:
    five_seconds_pass(page_of_ada)
    expect(page_of_ada.get_by_text("Days and hours are those of Asia/Kat")).to_be_visible()


def test_it_says_when_it_no_longer_hears(page_of_ada: Page, project: Project) -> None:
    add_usage(project, timezone.now())
    five_seconds_pass(page_of_ada)
    expect(page_of_ada.get_by_role("link", name="small")).to_be_visible()
    expect(page_of_ada.get_by_text("Updated at")).not_to_be_in_viewport()
    page_of_ada.context.set_offline(True)
    with page_of_ada.expect_event("requestfailed"):
        page_of_ada.clock.run_for(FRESH_MS)
    expect(page_of_ada.get_by_text("Not updated since")).to_be_in_viewport()
    page_of_ada.context.set_offline(False)
    five_seconds_pass(page_of_ada)
    expect(page_of_ada.get_by_text("Updated at")).to_be_visible()


def test_an_answer_that_does_not_come_is_given_up_and_asked_for_anew(page_of_ada: Page) -> None:
    asked = []

    def never_answer(route: Route) -> None:
        asked.append(route)

    page_of_ada.route("**/usage/live/**", never_answer)
    expect(page_of_ada.get_by_text("Updated at")).to_be_visible()
    page_of_ada.clock.run_for(4 * FRESH_MS)
    expect(page_of_ada.get_by_text("Not updated since")).to_be_visible()
    assert len(asked) == 2
    page_of_ada.unroute("**/usage/live/**")
    page_of_ada.clock.run_for(2 * FRESH_MS)
    expect(page_of_ada.get_by_text("Updated at")).to_be_visible()


def test_a_reader_with_the_keyboard_is_not_interrupted(page_of_ada: Page, project: Project) -> None:
    add_usage(project, timezone.now())
    five_seconds_pass(page_of_ada)
    link = page_of_ada.get_by_role("link", name="small")
    expect(link).to_be_visible()
    page_of_ada.keyboard.press("Tab")
    link.focus()
    add_usage(project, timezone.now(), model="large")
    asked: list[str] = []
    page_of_ada.on("request", lambda request: asked.append(request.url))
    page_of_ada.clock.run_for(2 * FRESH_MS)
    expect(link).to_be_focused()
    assert asked == []
    link.blur()
    five_seconds_pass(page_of_ada)
    expect(page_of_ada.get_by_role("link", name="large")).to_be_visible()


def test_a_chart_tells_the_figures_of_a_place(page_of_ada: Page, project: Project) -> None:
    """To a pointer and to the arrow keys; on a phone too they leave in sight what they are of."""
    long = "a-model-with-a-name-of-sixty-characters-without-any-space-01"
    for model, requests in ((long, 1_234_567), ("large", 2)):
        add_usage(project, timezone.now(), model=model, requests=requests, cost_nano=1_234_567_890)
    page_of_ada.set_viewport_size({"width": 390, "height": 844})
    page_of_ada.clock.resume()
    page_of_ada.goto(page_of_ada.url.replace("window=today", "window=1h"))
    for name, figures in (
        ("requests", [long, "1,234,567", "large", "2", "All", "1,234,569"]),
        ("cost", [long, "$1.2346", "large", "$1.2346", "All", "$2.4691"]),
    ):
        chart = page_of_ada.locator(f"#usage-{name}[tabindex='0']")
        chart.focus()
        chart.press("End")
        told = chart.locator(".chart-tip").locator(".chart-tip-name, .chart-tip-value")
        for _ in range(3):  # a quarter of an hour may have begun since
            if told.all_text_contents() == figures:
                break
            chart.press("ArrowLeft")
        expect(told).to_have_text(figures)
        assert_beside(chart.locator(".chart-tip"), chart.locator(".chart-mark"))
        chart.press("Escape")
        expect(told).to_have_count(0)
    canvas = page_of_ada.locator("#usage-requests canvas")
    for x in (45, 150, 300):
        canvas.hover(position={"x": x, "y": 60})
        expect(page_of_ada.locator("#usage-requests .chart-tip-title")).to_be_visible()
        assert_beside(
            page_of_ada.locator("#usage-requests .chart-tip"), page_of_ada.locator("#usage-requests .chart-mark")
        )


def test_a_chart_tells_the_period_before(page_of_ada: Page, project: Project) -> None:
    now = timezone.now()
    add_usage(project, now, requests=3)
    add_usage(project, now - timedelta(days=7), requests=5)
    add_usage(project, now - timedelta(days=7), model="large", requests=6, status=429)
    page_of_ada.clock.resume()
    page_of_ada.goto(page_of_ada.url.replace("window=today", "window=7d"))
    switch = page_of_ada.get_by_role("link", name="Compare with the 7 days before")
    switch.click()
    expect(switch).to_have_attribute("aria-current", "true")
    assert "compare=before" in page_of_ada.url
    for name, told in (("requests", ["3", "11"]), ("failures", ["54.55%"])):
        chart = page_of_ada.locator(f"#usage-{name}[tabindex='0']")
        chart.press("End")
        expect(chart.locator(".chart-tip-value")).to_have_text(told)
        before = f"Before · {now.astimezone(KATHMANDU) - timedelta(days=7):%A}"
        expect(chart.locator(".chart-tip-name").last).to_contain_text(before)
        chart.press("Escape")
    page_of_ada.locator("#usage-requests-table > summary").click()
    table = page_of_ada.locator("#usage-requests-table table")
    expect(table.locator("thead th")).to_have_text(["From", "small", "Before"])
    expect(table.locator("tbody tr").last.locator("td")).to_have_text(["3", "11"])
    page_of_ada.evaluate("document.activeElement.blur()")
    add_usage(project, timezone.now(), model="new")
    expect(table.locator("thead th")).to_have_text(["From", "small", "new", "All", "Before"])
    switch.click()
    expect(table).to_have_count(0)
    assert "compare=" not in page_of_ada.url


def test_its_head_says_that_it_renews_itself(page_of_ada: Page, project: Project) -> None:
    mark = page_of_ada.locator("#usage-live")
    expect(mark).to_have_text(re.compile(r"^Live\s+\d\d:\d\d:\d\d$"), use_inner_text=True)
    first = mark.inner_text()
    five_seconds_pass(page_of_ada)
    expect(mark).not_to_have_text(first, use_inner_text=True)
    page_of_ada.context.set_offline(True)
    with page_of_ada.expect_event("requestfailed"):
        page_of_ada.clock.run_for(FRESH_MS)
    expect(mark).to_have_text(re.compile("^Last updated"), use_inner_text=True)
    page_of_ada.context.set_offline(False)
    five_seconds_pass(page_of_ada)
    expect(mark).to_have_text(re.compile("^Live"), use_inner_text=True)


def test_its_dot_is_still_for_whoever_wants_no_motion(page_of_ada: Page) -> None:
    beats = "getComputedStyle(document.querySelector('#usage-live > .live-dot')).animationName"
    assert page_of_ada.evaluate(beats) == "live-beat"
    page_of_ada.emulate_media(reduced_motion="reduce")
    assert page_of_ada.evaluate(beats) == "none"


def test_a_chart_of_shares_has_them_everywhere(page_of_ada: Page, project: Project) -> None:
    add_usage(project, timezone.now(), requests=3)
    add_usage(project, timezone.now(), status=429, error_code="rate_limit_exceeded")
    page_of_ada.clock.resume()
    page_of_ada.goto(page_of_ada.url.replace("window=today", "window=7d"))
    chart = page_of_ada.locator("#usage-failures[tabindex='0']")
    chart.press("End")
    expect(chart.locator(".chart-tip-value")).to_have_text(["25.00%"])
    page_of_ada.locator("#usage-failures-table > summary").click()
    shares = page_of_ada.locator("#usage-failures-table tbody td")
    expect(shares).to_have_text([*["–"] * 6, "25.00%"])


def assert_beside(tip: Locator, mark: Locator) -> None:
    """Within the screen, and not over the place that it tells of."""
    told, place = tip.bounding_box(), mark.bounding_box()
    assert told is not None
    assert place is not None
    assert told["x"] >= 0
    assert told["x"] + told["width"] <= 390
    is_aside = told["x"] >= place["x"] + place["width"] or told["x"] + told["width"] <= place["x"]
    assert is_aside or told["y"] >= place["y"] + place["height"] or told["y"] + told["height"] <= place["y"]

"""The way through, in a browser, on a fresh start, with a real language model: nothing in it is a fake."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from openai import OpenAI
from playwright.sync_api import Browser, Page, expect

from docs_site.samples import Values
from tests.conftest import PASSWORD
from tests.docs_site import samples_runner
from tests.docs_site.samples_runner import every_sample
from tests.e2e.conftest import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

MODEL = "smollm2-135m-instruct"
OPERATOR = "operator@example.com"
FRESH_SECONDS = 5
WRITTEN_MS = 300_000  # by a model that has a part of a processor


@pytest.fixture(params=["en", "zh-Hans"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def visit(browser: Browser, stack: Stack, language: str) -> Iterator[Callable[[], Page]]:
    """A new person's own browser window on the portal, which fails the test on any blocked script or style."""
    contexts = []
    blocked: list[str] = []

    def open_window() -> Page:
        context = browser.new_context(base_url=stack.url, locale=language, viewport={"width": 1280, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: blocked.append(message.text) if "Content Security" in message.text else None)
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert blocked == []


def sign_up(page: Page, name: str) -> str:
    email = f"{name}-{uuid4().hex[:8]}@example.com"
    page.goto("/accounts/signup/")
    page.fill("input[name=email]", email)
    page.fill("input[name=password1]", PASSWORD)
    page.fill("input[name=password2]", PASSWORD)
    page.click("main button.btn-primary")
    expect(page).to_have_url(re.compile("/quickstart/$"))
    return email


def make_key(page: Page) -> str:
    page.goto("/keys/new/")
    page.fill("input[name=name]", "journey")
    page.click("main form button.btn-primary")
    secret = page.locator("#new-key code").inner_text()
    return secret.strip()


def call_row(page: Page, request_id: str) -> str:
    """The row of this call on the usage page, as soon as it stands there."""
    row = page.locator("tr", has=page.locator(f"[title='{request_id}']"))
    deadline = time.monotonic() + FRESH_SECONDS
    while True:
        page.goto("/usage/?range=today")
        if row.count():
            return row.inner_text()
        assert time.monotonic() < deadline, f"{request_id} is not on the usage page after {FRESH_SECONDS} seconds"
        time.sleep(0.3)


def content_of(file: Path) -> bytes:
    """Nothing of a file that PostgreSQL has removed meanwhile."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def test_the_way_through(stack: Stack, visit: Callable[[], Page], language: str, tmp_path: Path) -> None:
    ada = visit()
    sign_up(ada, "ada")
    secret = make_key(ada)

    # A call with the official SDK, streamed, and on the usage page seconds later with the tokens the server counted.
    client = OpenAI(base_url=f"{stack.url}/v1", api_key=secret)
    reply = client.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What is a library?"}],
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(reply.parse())
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    usage = chunks[-1].usage
    assert usage
    assert len(words) > 5
    row = call_row(ada, reply.headers["x-request-id"])
    assert f"{usage.prompt_tokens} → {usage.completion_tokens}" in row
    assert re.search(r"\b\d\d:\d\d:\d\d\b", row), "the second in which it began"
    expect(ada.locator("#usage-report tbody td.num").first).to_have_text("1")
    event = stack.run(
        "manage.py",
        "shell",
        "--no-imports",
        "-c",
        "from usage.models import *\n"
        f"event = UsageEvent.objects.get(request_id='{reply.headers['x-request-id']}')\n"
        "row = UsageRollup15Min.objects.get(key_id=event.key_id)\n"
        "print(event.backend, row.requests, row.completion_tokens)",
    )
    assert event.split() == ["embedded", "1", str(usage.completion_tokens)]

    # A playground run, made by a worker, that a reload in the middle does not lose; metered like any other call.
    ada.goto("/playground/")
    ada.fill("textarea[name=prompt]", "Write a long story about the keeper of a lighthouse and the sea.")
    ada.fill("input[name=max_tokens]", "60")
    ada.click("[data-run]")
    answer = ada.locator("#answer .prose")
    expect(answer).to_have_text(re.compile(r"\S"), timeout=WRITTEN_MS)
    expect(ada).to_have_url(re.compile("/playground/runs/run_"))
    before = answer.inner_text()
    ada.reload()
    finished = ada.locator("#answer[data-turn]")
    expect(finished).to_be_visible(timeout=WRITTEN_MS)
    assert before.split()[0] in finished.locator(".prose").inner_text()
    request_id = ada.locator(".timing-id code").inner_text()
    call_row(ada, request_id)

    # A tutorial, opened and its first sample run as it stands there.
    ada.goto("/docs/quickstart/")
    expect(ada.locator("pre code", has_text=f"{stack.url}/v1").first).to_be_visible()
    sample = next(sample for sample in every_sample() if str(sample).startswith(f"{language.lower()}/quickstart"))
    values = Values(stack.url, chat_model=MODEL, embedding_model=MODEL, has_models=True)
    assert "chat.completion" in samples_runner.run(sample, values=values, key=secret, folder=tmp_path)

    # A question; a second person answers, the first accepts.
    ada.goto("/forum/ask/")
    title = f"Why is the first answer slow? {uuid4().hex[:6]}"
    ada.fill("input[name=title]", title)
    ada.fill("textarea[name=text]", "The first call after a pause takes seconds. The ones after it do not.")
    ada.click("main form button.btn-primary")
    question_url = ada.url
    expect(ada.locator("h1")).to_have_text(title)

    ben = visit()
    sign_up(ben, "ben")
    ben.goto(question_url)
    ben.fill("textarea[name=text]", "The server loads the model again. Keep it loaded, and it does not.")
    ben.click("main form:has(textarea[name=text]) button.btn-primary")
    expect(ben.locator("article article")).to_have_count(1)

    ada.goto(question_url)
    ada.click("form[action*='/accept/'] button")
    expect(ada.locator("article article .badge-success")).to_be_visible()
    ben.goto("/notifications/")
    expect(ben.locator("main")).to_contain_text(title)

    # A third flags; staff hide, undo, and suspend.
    cyd = visit()
    sign_up(cyd, "cyd")
    cyd.goto(question_url)
    cyd.locator("article article a[href*='/flag/']").click()
    cyd.locator("input[name=reason][value=spam], select[name=reason]").first.check()
    cyd.click("main form button.btn-primary")

    staff = visit()
    become_staff(stack, staff)
    staff.goto("/moderation/")
    case = staff.locator("section", has_text=title).locator("form[action*='/moderation/posts/']")
    case.locator("input[name=reason]").fill("Looks like advertising.")
    case.locator("button[value=hide]").click()
    cyd.goto(question_url)
    expect(cyd.locator("article article")).to_have_count(0)
    staff.locator("form[action*='/undo/'] button").first.click()
    cyd.goto(question_url)
    expect(cyd.locator("article article")).to_have_count(1)
    staff.goto("/moderation/")
    case.locator("input[name=reason]").fill("Advertising, for the third time.")
    case.locator("button[value=suspend]").click()
    ben.goto(question_url)
    expect(ben.locator("textarea[name=text]")).to_have_count(0)

    # Nothing that was kept or logged on the way holds the key.
    var = Path(stack.environment["LYCEUM_VAR"])
    kept = [file for folder in (var, (var / "postgres").resolve()) for file in folder.rglob("*") if file.is_file()]
    assert len(kept) > 1000
    assert not [file for file in kept if secret.encode() in content_of(file)]


def become_staff(stack: Stack, page: Page) -> None:
    """Through the one-time link the first time, by signing in afterwards."""
    page.goto(stack.setup_link)
    if page.locator("input[name=sample_data]").count():
        page.fill("input[name=email]", OPERATOR)
        page.fill("input[name=password]", PASSWORD)
        page.click("main form button.btn-primary")
        expect(page).to_have_url(re.compile("/backends/$"))
    else:
        page.goto("/accounts/login/")
        page.fill("input[name=login]", OPERATOR)
        page.fill("input[name=password]", PASSWORD)
        page.click("main form button.btn-primary")
        expect(page).to_have_url(re.compile("/quickstart/$"))

"""What stands still when the inference worker does, and what does not."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from openai import OpenAI
from playwright.sync_api import Browser, Page, expect

from tests.conftest import PASSWORD
from tests.e2e.conftest import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    context = browser.new_context(base_url=stack.url, locale="en")
    yield context.new_page()
    context.close()


@pytest.fixture
def stopped_worker(stack: Stack) -> Iterator[list[int]]:
    """The inference worker's processes, frozen: killed, the supervisor would have a new one up within a second."""
    listed = subprocess.run(["ps", "axww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    mine = [
        int(line.split()[0])
        for line in listed.splitlines()
        if "celery" in line and "worker" in line and "inference" in line and _is_of(stack, int(line.split()[0]))
    ]
    assert mine
    for pid in mine:
        os.kill(pid, signal.SIGSTOP)
    yield mine
    for pid in mine:
        os.kill(pid, signal.SIGCONT)


def _is_of(stack: Stack, pid: int) -> bool:
    environment = subprocess.run(
        ["ps", "eww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return stack.environment["LYCEUM_VAR"] in environment.stdout


def test_runs_wait_and_say_so_while_the_api_goes_on(stack: Stack, stopped_worker: list[int], page: Page) -> None:
    page.goto("/accounts/signup/")
    page.fill("input[name=email]", f"wes-{time.time_ns()}@example.com")
    page.fill("input[name=password1]", PASSWORD)
    page.fill("input[name=password2]", PASSWORD)
    page.click("main button.btn-primary")
    page.goto("/playground/")
    page.fill("textarea[name=prompt]", "Say hello.")
    page.fill("input[name=max_tokens]", "8")
    page.click("[data-run]")
    expect(page.get_by_text("No worker is free, so this run waits.")).to_be_visible(timeout=20_000)

    key = stack.run("manage.py", "issue_key", "--email", "wes@example.com").strip()
    client = OpenAI(base_url=f"{stack.url}/v1", api_key=key)
    answer = client.embeddings.create(model="smollm2-135m-instruct", input="Still here?")
    assert answer.data[0].embedding

    status, body = stack.get("/readyz")
    assert status == 503
    assert not json.loads(body)["parts"]["worker_inference"]["ok"]
    assert stack.get("/livez") == (200, "ok\n")

    for pid in stopped_worker:
        os.kill(pid, signal.SIGCONT)
    expect(page.locator("#answer[data-turn]")).to_be_visible(timeout=60_000)
    expect(page.locator(".timing")).to_contain_text(re.compile(r"\d+ in, \d+ out"))

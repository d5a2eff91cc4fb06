"""What is asked and answered stands nowhere afterwards, however the call ended: not in PostgreSQL, not in what the
durable Redis writes to the disk, not in a log, not in a file.

A run of the playground is kept for its owner, in its row and nowhere else. When all tests have run, what PostgreSQL
wrote to its files is searched for PROMPT as well (`tests.left_behind`).
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from django.conf import settings

from common import redis as servers
from playground.models import Run
from playground.services import start_run
from playground.worker import InferenceWorker
from tests.apikeys.test_no_key_anywhere import log, rows  # noqa: F401 - a fixture
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Stage, ask, begun, chat, words_read
from tests.left_behind import PROMPT
from usage.ingest import drain
from usage.models import UsageEvent

Places = Callable[[str], Iterator[str]]

KEPT = "what-is-kept-with-a-run"
ECHO = {"error": {"message": f"I do not like {PROMPT}", "type": PROMPT, "code": PROMPT, "param": PROMPT}}

# How the server does, and what is asked beside the messages.
CALLS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"stream": True}),
    ({"no_usage": True}, {"stream": True}),
    ({"status": 400, "body": ECHO}, {}),
    ({"status": 500, "body": ECHO}, {"stream": True}),
    ({"status": 500, "body": f"<h1>{PROMPT}</h1>"}, {}),
    ({"bad_json": True}, {}),
    ({"bad_json": True}, {"stream": True}),
    ({"wrong_type": True}, {}),
    ({"die_after": 0}, {}),
    ({"die_after": 2}, {"stream": True}),
    ({"error_after": 2}, {"stream": True}),
    ({"chunks": [{"choices": [{"delta": {"content": PROMPT}, "finish_reason": {PROMPT: PROMPT}}]}]}, {"stream": True}),
    ({}, {"model": PROMPT}),
    ({}, {"model": "dead-chat"}),
    ({}, {"max_tokens": PROMPT}),
    ({}, {"max_tokens": 10**9}),
    ({}, {"tools": [{"type": PROMPT}]}),
    ({}, {"user": PROMPT, "metadata": {PROMPT: PROMPT}, "stop": [PROMPT]}),
]


@pytest.fixture
def places(log: Any) -> Places:  # noqa: F811
    """Where a text stands."""

    def found(text: str) -> Iterator[str]:
        yield from (table for table, row in rows() if text in row)
        written = Path(cast("dict[str, str]", servers.durable().config_get("dir"))["dir"])
        for folder in (written, Path(settings.VAR_DIR)):
            yield from (
                str(file) for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()
            )
        if text in log.getvalue():
            yield "log"

    return found


def test_it_works(places: Places) -> None:
    """The search finds what is there."""
    servers.durable().set("a-probe-of-the-search", "1", ex=1)
    assert list(places("a-probe-of-the-search"))


def test_nothing_of_a_call_is_kept(
    url: str, mint: Callable[..., str], places: Places, fake: FakeInferenceServer, event_of: Callable[[str], UsageEvent]
) -> None:
    secret, refused, poor = mint(), mint(requests_per_minute=1), mint(monthly_budget_nano=1)
    before = fake.ledger.requests
    for told, fields in CALLS:
        body = {"model": "fake-chat", "messages": chat(PROMPT), **fields, "fake": {"word": PROMPT, **told}}
        ask(url, "/chat/completions", secret=secret, body=body)
        ask(url, "/chat/completions", secret=refused, body=body)
    assert fake.ledger.requests > before + 12
    assert PROMPT in json.dumps(fake.last().body)
    ask(url, "/chat/completions", secret=poor, body={"model": "paid-chat", "messages": chat(PROMPT)})
    ask(url, "/embeddings", secret=secret, body={"model": "fake-embed", "input": [PROMPT]})
    ask(url, f"/{PROMPT}?q={PROMPT}", secret=secret, body={"input": PROMPT})
    ask(url, "/chat/completions", secret=secret, body=f'{{"messages": [{{"content": "{PROMPT}"'.encode())
    ask(url, "/chat/completions", secret="", body={"model": "fake-chat", "messages": chat(PROMPT)})
    with begun(url, secret, {"tokens": 2000, "rate": 50}, text=PROMPT, stream=True) as connection:
        response = connection.getresponse()
        words_read(response, 3)
    assert event_of(response.headers["x-request-id"]).status == 499
    assert UsageEvent.objects.filter(error_code="rate_limit_exceeded").exists()
    assert list(places(PROMPT)) == []


@pytest.mark.parametrize(
    "told", [{}, {"status": 400, "body": {"error": {"message": KEPT, "type": KEPT}}}, {"die_after": 2}]
)
def test_a_run_is_kept_with_its_row_and_nowhere_else(stage: Stage, places: Places, told: dict[str, Any]) -> None:
    run = start_run(
        user=stage.ada,
        project=stage.project,
        model="fake-chat",
        messages=[{"role": "user", "content": KEPT}],
        parameters={"fake": {"word": f"{KEPT} ", **told}},
    )
    worker = InferenceWorker()
    worker.execute(run.public_id)
    worker.close()
    drain()
    assert set(places(KEPT)) <= {Run._meta.db_table}
    run.refresh_from_db()
    run.delete()
    assert list(places(KEPT)) == []

"""A web process that is told to stop, while others go on."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from portal.embedded.program import free_port
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import START_SECONDS, Reply, Stage, ask, chat, wait_for, web_process
from usage.models import UsageEvent

PATIENCE = ["--timeout-graceful-shutdown", "20"]
LESS_THAN_PATIENCE = 15
# Long enough for a busy machine to hear of it.
NOTICE_SECONDS = 3


class Web:
    """A whole web process, started again at the same port."""

    def __init__(self, var: Path, *, notice: int, drain: int) -> None:
        self._var, self._port = var, free_port()
        self._notice, self._drain = notice, drain
        self.start()

    def start(self) -> None:
        self._running: AbstractContextManager[tuple[str, subprocess.Popen[bytes]]] = web_process(
            self._var,
            application="portal.asgi:application",
            port=self._port,
            arguments=PATIENCE,
            DRAIN_NOTICE_SECONDS=str(self._notice),
            DRAIN_SECONDS=str(self._drain),
        )
        self.url, self.process = self._running.__enter__()
        wait_for(self.is_up, seconds=START_SECONDS)

    def is_up(self) -> bool:
        """What a load balancer would ask: whether the process says that it is stopping, or nothing."""
        try:
            return b"told to stop" not in ask(self.url.removesuffix("/v1"), "/readyz", method="GET").body
        except OSError:
            return False

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        self._running.__exit__(None, None, None)


@pytest.fixture
def webs(stage: Stage, tmp_path: Path) -> Iterator[Callable[..., Web]]:
    with ExitStack() as parts:

        def start(*, notice: int = NOTICE_SECONDS, drain: int = 10) -> Web:
            web = Web(tmp_path, notice=notice, drain=drain)
            parts.callback(web.end)
            return web

        yield start


def stream(web: Web, secret: str, **told: float) -> Reply:
    body = {"model": "fake-chat", "messages": chat(), "stream": True, "fake": told}
    return ask(web.url, "/chat/completions", secret=secret, body=body)


def test_it_works(webs: Callable[..., Web], secret: str, fake: FakeInferenceServer) -> None:
    web, before = webs(), fake.ledger.requests
    with ThreadPoolExecutor(20) as pool:
        streams = [pool.submit(stream, web, secret, tokens=30, rate=15) for _number in range(20)]
        wait_for(lambda: fake.ledger.requests == before + 20)
        web.stop()
        wait_for(lambda: not web.is_up())
        # What comes during the notice is answered, and its connection ended.
        late = ask(web.url, "/models", method="GET", secret=secret)
        assert (late.status, late.headers["connection"]) == (200, "close")
        replies = [one.result() for one in streams]
    assert all(reply.body.endswith(b"data: [DONE]\n\n") for reply in replies)
    assert web.process.wait(LESS_THAN_PATIENCE) is not None


def test_what_does_not_end_in_time_is_told_to_come_again(
    webs: Callable[..., Web], secret: str, fake: FakeInferenceServer, event_of: Callable[[str], UsageEvent]
) -> None:
    web, before = webs(notice=0, drain=1), fake.ledger.requests
    with ThreadPoolExecutor() as pool:
        streamed = pool.submit(stream, web, secret, tokens=1000, rate=10)
        wait_for(lambda: fake.ledger.requests > before and fake.last().sent_tokens >= 5)
        body = {"model": "fake-chat", "messages": chat(), "fake": {"slow_headers": 30}}
        silent = pool.submit(ask, web.url, "/chat/completions", secret=secret, body=body)
        wait_for(lambda: fake.ledger.requests == before + 2)
        web.stop()
        reply, refusal = streamed.result(), silent.result()
    assert (refusal.status, refusal.error["code"]) == (503, "server_restarting")
    assert "retry-after" in refusal.headers
    assert b'"code":"server_restarting"' in reply.body.split(b"\n\n")[-2]
    event = event_of(reply.headers["x-request-id"])
    assert (event.status, event.error_code, event.is_estimated) == (503, "server_restarting", True)
    assert event.completion_tokens >= 4
    assert web.process.wait(LESS_THAN_PATIENCE) is not None


def test_one_after_the_other_under_load_drops_nothing(webs: Callable[..., Web], secret: str) -> None:
    pair = [webs(), webs()]
    ready = dict.fromkeys(pair, True)
    answers: list[int] = []
    is_over = threading.Event()

    def balance() -> None:
        while not is_over.wait(0.1):
            for web in pair:
                ready[web] = web.is_up()

    def call(number: int) -> None:
        while not is_over.is_set():
            up = [web for web in pair if ready[web]]
            web = up[number % len(up)]
            body = {"model": "fake-chat", "messages": chat(), "fake": {"tokens": 3}}
            answers.append(ask(web.url, "/chat/completions", secret=secret, body=body).status)
            number += 1

    with ThreadPoolExecutor(5) as pool:
        callers = [pool.submit(balance), *(pool.submit(call, number) for number in range(4))]
        for web in pair:
            web.stop()
            web.process.wait(LESS_THAN_PATIENCE)
            web.end()
            web.start()
            wait_for(lambda web=web: ready[web])  # type: ignore[misc]  # it is called before the next round
        is_over.set()
        for caller in callers:
            caller.result()
    assert len(answers) > 20
    assert set(answers) == {200}

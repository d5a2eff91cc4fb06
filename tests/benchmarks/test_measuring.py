"""What measures: the load and the reader of streams tell what a server does, and the sections say it."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from benchmarks import calls, streams
from benchmarks.calls import KINDS, Measured
from benchmarks.listen import Heard, listen
from benchmarks.load import Result, load
from benchmarks.processes import Used
from benchmarks.targets import FAKE, OURS, PORTKEY
from tests.fakes.inference_server import FakeInferenceServer


@pytest.fixture(scope="module")
def server() -> Iterator[FakeInferenceServer]:
    with FakeInferenceServer() as running:
        yield running


def _asking(server: FakeInferenceServer, **fake: Any) -> tuple[str, bytes]:
    messages = [{"role": "user", "content": "Hello."}]
    body = {"model": "fake-chat", "messages": messages, "stream": "rate" in fake, "fake": fake}
    return f"{server.base_url}/chat/completions", orjson.dumps(body)


def test_a_load_is_what_the_server_was_asked(server: FakeInferenceServer) -> None:
    before = server.ledger.requests
    url, body = _asking(server)
    result = load(url, body, headers={"Authorization": "Bearer x"}, connections=2, seconds=0.05)
    assert result.requests == server.ledger.requests - before > 2
    assert result.failed == 0
    assert 0 < result.p50 <= result.p99
    assert server.last().authorization == "Bearer x"


def test_a_load_keeps_to_its_pace(server: FakeInferenceServer) -> None:
    url, body = _asking(server)
    result = load(url, body, headers={}, connections=2, seconds=0.2, rate=100)
    assert 0 < result.requests <= 22


def test_an_answer_that_makes_the_next_turn_late_makes_it_wait(server: FakeInferenceServer) -> None:
    url, body = _asking(server, slow_headers=0.1)
    result = load(url, body, headers={}, connections=1, seconds=0.25, rate=1000)
    assert result.p99 > 150


@pytest.mark.parametrize("fake", [{"status": 500}, {"die_after": 0}])
def test_answers_that_are_none_have_failed(server: FakeInferenceServer, fake: dict[str, Any]) -> None:
    url, body = _asking(server, **fake)
    result = load(url, body, headers={}, connections=2, seconds=0.02)
    assert result.failed >= 2


@pytest.mark.parametrize("fake", [{"status": 500}, {}])
def test_an_answer_without_an_event_is_no_stream(server: FakeInferenceServer, fake: dict[str, Any]) -> None:
    url, body = _asking(server, **fake)
    result = load(url, body, headers={}, connections=2, seconds=0.02, first_event=True)
    assert result.requests == result.failed >= 2


def test_the_reader_tells_how_late_chunks_are(server: FakeInferenceServer) -> None:
    url, body = _asking(server, tokens=1000, rate=100, stamped=True)
    heard = listen(url, body, headers={}, streams=5, seconds=0.3)
    assert (heard.asked, heard.started, heard.failed) == (5, 5, 0)
    assert 100 < heard.chunks_per_second < 600
    assert 0 < heard.p50 <= heard.p99 < 1000


def test_a_stream_that_is_cut_has_failed(server: FakeInferenceServer) -> None:
    url, body = _asking(server, tokens=10, rate=100, stamped=True, die_after=3)
    heard = listen(url, body, headers={}, streams=2, seconds=0.05)
    assert heard.failed == 2
    assert not streams.holds(heard)


def _measured(rate: float, p50: float) -> Measured:
    return Measured(Result(rate, p50, p50 * 2, requests=100, failed=0), 0.5)


def test_the_page_has_the_ratios_of_every_run() -> None:
    by_target = {
        FAKE: [_measured(1000, 0.1)] * 3,
        OURS: [_measured(300, 1.1), _measured(310, 1.0), _measured(290, 1.2)],
        PORTKEY: [_measured(100, 4.0)] * 3,
    }
    text = calls.section({kind.name: by_target for kind in KINDS}, ["Without nginx."], 12_345)
    assert "| 16 | 0.300, 0.310, 0.290 | 3.0, 3.1, 2.9 |" in text
    assert "| 16 | Lyceum | 300 | 1.10 | 2.20 | 1.00 | 0.50 |" in text
    assert "Without nginx." in text
    assert "12,345" in text


def _heard(asked: int, p99: float) -> Heard:
    return Heard(
        asked=asked,
        started=asked,
        failed=0,
        chunks_per_second=asked * 20,
        p50=1.0,
        p99=p99,
        seconds=5.0,
        before=Used(1.0, 100 * 1024),
        at_start=Used(2.0, 200 * 1024),
        at_end=Used(2.0 + asked / 200, 100 * 1024 + asked * 2048),
    )


def test_a_stream_costs_what_the_process_took_for_all_of_them() -> None:
    heard = _heard(500, 9)
    assert heard.cpu_of_stream == pytest.approx(1.0)
    assert heard.memory_of_stream == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("alone", "ours", "said"),
    [
        (5, 30, "More were not asked for."),
        (500, 30, "the machine ends there."),
        (5, 500, "the gateway ends before the machine."),
        (500, 500, "the machine ends there."),
    ],
)
def test_the_page_says_who_ends_first(alone: float, ours: float, said: str) -> None:
    doubled = {500: (_heard(500, 5), _heard(500, 9)), 1000: (_heard(1000, alone), _heard(1000, ours))}
    text = streams.section({FAKE: doubled[500][0], OURS: doubled[500][1]}, doubled, [])
    assert said in text
    assert f"holds {1000 if ours < 100 else 500:,} streams" in text

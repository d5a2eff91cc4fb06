"""The stream of a run over server-sent events: live, resumed, after its end, and closed to whoever has no ticket."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import httpx2
import orjson
import pytest
from django.core import signing
from starlette.routing import Route

from accounts.models import User
from common.redis import async_volatile, volatile
from playground import streams, tickets
from playground.asgi import application
from playground.following import QUEUE_LENGTH
from playground.models import Run, RunStatus
from tests.playground.servers import Received, events, serving

RUN = "run_0000000000000000000000"
USER = "user_0000000000000000000000"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(application) as address:
        yield address


def address(server: str, *, run_id: str = RUN, user_id: str = USER) -> str:
    return f"{server}/stream/runs/{run_id}?ticket={tickets.issue(run_id=run_id, user_id=user_id)}"


def follow(url: str, *, after: str = "", until: int | None = None) -> list[Received]:
    """Events from `after` on, to the end or until there are `until` of them."""
    headers = {"Last-Event-ID": after} if after else {}
    received = []
    with httpx2.stream("GET", url, headers=headers, timeout=20) as response:
        assert response.status_code == 200
        for event in events(response):
            received.append(event)
            if len(received) == until:
                break
    return received


def write(*pieces: str) -> None:
    async def go() -> None:
        client = async_volatile()
        writer = streams.StreamWriter(client, RUN, interval=lambda: 0.001)
        for piece in pieces:
            writer.write("text", piece)
            await asyncio.sleep(0.003)
        await writer.close()
        await client.aclose()

    # In a thread: where a browser was used before, this one has a loop already.
    writing = threading.Thread(target=lambda: asyncio.run(go()))
    writing.start()
    writing.join()


def text_of(received: list[Received]) -> str:
    return "".join(orjson.loads(event.data)["delta"] for event in received if event.event == "text")


def test_it_works(server: str) -> None:
    streams.open_stream(RUN)
    reader = _Reader(address(server))
    reader.wait_for(1)
    write("Hel", "lo 😀", ".")
    streams.end_stream(RUN, status="succeeded", text="Hello 😀.")
    reader.join()

    assert reader.received[0].event == "start"
    assert text_of(reader.received) == "Hello 😀."
    assert orjson.loads(reader.received[-1].data) == {"status": "succeeded", "length": 9, "reasoning_length": 0}


def test_a_reader_that_comes_back_gets_exactly_the_rest(server: str) -> None:
    streams.open_stream(RUN)
    write(*(f"word {number} " for number in range(40)))
    streams.end_stream(RUN, status="succeeded", text="")
    whole = follow(address(server))

    for cut in (1, 7, len(whole) - 1):
        rest = follow(address(server), after=whole[cut - 1].id)
        assert b"".join(event.raw for event in rest) == b"".join(event.raw for event in whole[cut:])
    assert follow(address(server) + f"&after={whole[4].id}") == whole[5:]


def test_a_reader_that_comes_back_in_the_middle_misses_nothing(server: str) -> None:
    streams.open_stream(RUN)
    write("one ", "two ")
    seen = follow(address(server), until=2)
    write_later = threading.Thread(target=write, args=("three ", "four "))
    write_later.start()
    reader = _Reader(address(server), after=seen[-1].id)
    write_later.join()
    streams.end_stream(RUN, status="succeeded", text="")
    reader.join()

    # Each writer counts places from zero; the readers' texts together are what both wrote.
    assert text_of(seen) + text_of(reader.received) == "one two three four "


def test_many_readers_of_one_run_all_see_it_whole(server: str) -> None:
    streams.open_stream(RUN)
    readers = [_Reader(address(server)) for _ in range(12)]
    for reader in readers:
        reader.wait_for(1)
    write(*(f"{number} " for number in range(QUEUE_LENGTH * 3)))
    streams.end_stream(RUN, status="succeeded", text="")
    for reader in readers:
        reader.join()

    whole = [event.raw for event in readers[0].received]
    assert text_of(readers[0].received) == "".join(f"{number} " for number in range(QUEUE_LENGTH * 3))
    assert all([event.raw for event in reader.received] == whole for reader in readers)


def test_a_reader_far_behind_reads_on_from_the_stream(server: str) -> None:
    streams.open_stream(RUN)
    pipeline = volatile().pipeline(transaction=False)
    for number in range(1000):
        pipeline.xadd(streams.key_of(RUN), streams.entry("text", {"at": 0, "delta": f"{number} "}))  # type: ignore[arg-type]
    pipeline.execute()
    streams.end_stream(RUN, status="succeeded", text="")

    assert text_of(follow(address(server))) == "".join(f"{number} " for number in range(1000))


def test_reading_a_stream_takes_no_cache_and_no_buffer(server: str) -> None:
    streams.end_stream(RUN, status="succeeded", text="")

    with httpx2.stream("GET", address(server), headers={"Accept-Encoding": "gzip, br"}) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"].startswith("no-store")
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["Content-Encoding"] == "identity"


@pytest.mark.django_db(transaction=True)
def test_a_waiting_run_is_followed_before_it_has_a_stream(server: str, ada: User, run_of: Callable[..., Run]) -> None:
    run = run_of(ada, status=RunStatus.PENDING, output="")
    reader = _Reader(address(server, run_id=run.public_id, user_id=ada.public_id))
    time.sleep(0.2)

    streams.end_stream(run.public_id, status="stopped", text="")

    reader.wait_for(1, within=2)
    reader.join()
    assert [event.event for event in reader.received] == ["end"]


@pytest.mark.django_db(transaction=True)
def test_a_run_whose_stream_is_gone_is_told_from_its_row(server: str, ada: User, run_of: Callable[..., Run]) -> None:
    run = run_of(ada, output="Hello 😀", status=RunStatus.STOPPED)

    output, end = follow(address(server, run_id=run.public_id, user_id=ada.public_id), after="1-1")

    assert orjson.loads(output.data) == {"text": "Hello 😀", "reasoning": ""}
    assert orjson.loads(end.data) == {"status": "stopped", "length": 8, "reasoning_length": 0}


@pytest.mark.django_db(transaction=True)
def test_a_run_that_was_deleted_is_gone(server: str) -> None:
    assert [event.event for event in follow(address(server))] == ["gone"]


@pytest.mark.django_db(transaction=True)
def test_a_ticket_of_somebody_else_shows_no_row(server: str, ada: User, cyd: User, run_of: Callable[..., Run]) -> None:
    run = run_of(ada)

    received = follow(address(server, run_id=run.public_id, user_id=cyd.public_id))

    assert [event.event for event in received] == ["gone"]


@pytest.mark.parametrize(
    "ticket",
    [
        "",
        "forged",
        tickets.issue(run_id="run_another", user_id=USER),
        signing.dumps([RUN, USER], salt="something.else"),
        signing.dumps({"run": RUN}, salt=tickets.SALT),
        signing.TimestampSigner(salt=tickets.SALT).sign("not json"),
    ],
    # A signature holds the time: named by it, the test would have another name in each process that collects it.
    ids=["none", "forged", "of another run", "of another kind", "of another shape", "of no JSON"],
)
def test_without_the_right_ticket_nothing_is_told(server: str, ticket: str) -> None:
    streams.open_stream(RUN)

    assert httpx2.get(f"{server}/stream/runs/{RUN}", params={"ticket": ticket}).status_code == 403


def test_no_route_answers_without_a_ticket(server: str) -> None:
    streams.open_stream(RUN)
    paths = [route.path.replace("{run_id}", RUN) for route in application.routes if isinstance(route, Route)]

    assert len(paths) == len(application.routes)
    assert {httpx2.get(server + path).status_code for path in paths} == {403}


def test_a_ticket_expires() -> None:
    class Yesterday(signing.TimestampSigner):
        def timestamp(self) -> str:
            return signing.b62_encode(int(time.time()) - tickets.LIFETIME_SECONDS - 1)

    old = Yesterday(salt=tickets.SALT).sign_object([RUN, USER])

    assert tickets.read(old, run_id=RUN) is None
    assert tickets.read(tickets.issue(run_id=RUN, user_id=USER), run_id=RUN) is not None


@pytest.mark.parametrize("after", ["x", "1", "-1-1", "1-1-1", "99999999999999999999-0", "٣-٣"])
def test_a_last_id_that_is_none_is_refused(server: str, after: str) -> None:
    response = httpx2.get(address(server), params={"ticket": tickets.issue(run_id=RUN, user_id=USER), "after": after})

    assert response.status_code == 400
    assert response.headers["X-Content-Type-Options"] == "nosniff"


class _Reader:
    """Follows a stream in a thread."""

    def __init__(self, url: str, *, after: str = "") -> None:
        self.received: list[Received] = []
        self._url, self._after = url, after
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        headers = {"Last-Event-ID": self._after} if self._after else {}
        with httpx2.stream("GET", self._url, headers=headers, timeout=20) as response:
            for event in events(response):
                self.received.append(event)

    def wait_for(self, count: int, *, within: float = 10) -> None:
        deadline = time.monotonic() + within
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"only {len(self.received)} of {count} events came"
            time.sleep(0.005)

    def join(self) -> None:
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()

"""Parts of the portal killed in the middle of load: what the fake server served beside what the ledger recorded."""

import http.client
import itertools
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import orjson

from benchmarks.page import table
from benchmarks.processes import ROOT
from benchmarks.stack import CHAT, INPUT_NANO, OUTPUT_NANO, Stack
from portal.embedded.program import Program
from tests.services import Running, running

EMBED = "fake-embed"
CALLERS, LONG_STREAMS = 12, 4
# Each call has one word more than the one before it, by which it is found again wherever it is counted.
FEWEST_WORDS = 10
# Longer than the gateway takes to note how far its calls are.
LONG_TOKENS, LONG_RATE = 300, 20
PATIENCE_SECONDS = 90.0
PAGE_SECONDS = 0.05
AGAIN_SECONDS = 0.2
CELERY = (sys.executable, "-m", "celery", "-A", "portal", "--quiet")

Key = dict[str, str]


@dataclass(frozen=True)
class Fault:
    """What is killed, how often, how long it is away each time, and how long load goes on around it."""

    name: str
    kills: int
    before: float
    away: float


FAULTS = (
    # Killed once: what it had running is settled when its leases end.
    Fault("the gateway", kills=1, before=13.0, away=1.0),
    Fault("the ingest worker", kills=3, before=3.0, away=4.0),
    Fault("Redis", kills=3, before=3.0, away=1.5),
    Fault("PostgreSQL", kills=2, before=3.0, away=2.0),
)


@dataclass
class Outcome:
    """What came of a fault. `lost` are calls that were served and whose gateway died before it could say how far."""

    fault: Fault
    settled_seconds: float = 0.0
    served: Counter[str] = field(default_factory=Counter)
    recorded: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    estimated: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    pages: Counter[int] = field(default_factory=Counter)
    most_waiting: int = 0
    wrong: list[str] = field(default_factory=list)


class Load:
    """Calls of several keys at once, streams among them, until it is stopped."""

    def __init__(self, port: int, keys: list[Key]) -> None:
        self._port, self._keys = port, keys
        self._words = itertools.count(FEWEST_WORDS)
        self._is_over = threading.Event()
        self.answers: Counter[str] = Counter()
        lengths = [False] * CALLERS + [True] * LONG_STREAMS
        self._threads = [threading.Thread(target=self._go_on, args=(is_long,), daemon=True) for is_long in lengths]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self, is_long: bool) -> None:
        while not self._is_over.is_set():
            words = next(self._words)
            key = self._keys[words % len(self._keys)]
            came = self._call(key, *_asked(words, key["id"], is_long=is_long))
            self.answers[came] += 1
            if came != "answered":
                self._is_over.wait(AGAIN_SECONDS)

    def _call(self, key: Key, path: str, body: dict[str, Any]) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
        headers = {"Authorization": f"Bearer {key['secret']}", "Content-Type": "application/json"}
        try:
            connection.request("POST", f"/v1/{path}", body=orjson.dumps(body), headers=headers)
            response = connection.getresponse()
            content = response.read()
        except ConnectionRefusedError:
            return "not reached"
        except (OSError, http.client.HTTPException):
            return "cut"
        finally:
            connection.close()
        if response.status != 200:
            return "refused"
        return "cut" if body.get("stream") and not content.endswith(b"data: [DONE]\n\n") else "answered"


def _asked(words: int, caller: str, *, is_long: bool) -> tuple[str, dict[str, Any]]:
    """Where the call with so many words goes, and what it says. The fake server tells who made it by `user`."""
    text = "one " * words
    if words % 5 == 0 and not is_long:
        return "embeddings", {"model": EMBED, "input": text, "user": caller}
    told: dict[str, Any] = {"cached_tokens": words // 3}
    is_streamed = is_long or words % 2 == 0
    if is_long:
        told |= {"tokens": LONG_TOKENS, "rate": LONG_RATE}
    elif is_streamed:
        told |= {"tokens": 5 + words % 40, "rate": 40}
    else:
        told |= {"tokens": words % 13, "slow_headers": 0.06}
    messages = [{"role": "user", "content": text}]
    return "chat/completions", {
        "model": CHAT,
        "messages": messages,
        "user": caller,
        "stream": is_streamed,
        "fake": told,
    }


class Reader:
    """Somebody who asks for a page all the time, and what the answers were."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/models/"
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self.statuses: Counter[int] = Counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._is_over.wait(PAGE_SECONDS):
            try:
                with urllib.request.urlopen(self._url, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - ours
                    self.statuses[answer.status] += 1
            except urllib.error.HTTPError as refused:
                self.statuses[refused.code] += 1
            except OSError:
                self.statuses[0] += 1


class Workers:
    """The worker that writes usage into the ledger, and who tells it to. What dies by itself is started again, as the
    portal's supervisor does."""

    def __init__(self, ingest: Running, beat: Running) -> None:
        self.ingest, self.beat = ingest, beat

    def revive(self) -> None:
        for program in (self.ingest, self.beat):
            if program.process.poll() is not None:
                program.start()


@contextmanager
def _workers(stack: Stack) -> Iterator[Workers]:
    silent = ("--without-gossip", "--without-mingle", "-l", "critical")
    commands = {
        "ingest": (*CELERY, "worker", "-Q", "usage", "-P", "threads", "-c", "3", *silent),
        "beat": (*CELERY, "beat", "--schedule", str(stack.folder / "schedule"), "--pidfile", "", "-l", "critical"),
    }
    with ExitStack() as parts:
        programs = [
            Program(name=name, command=command, cwd=ROOT, environment=stack.environment)
            for name, command in commands.items()
        ]
        yield Workers(*(parts.enter_context(running(program)) for program in programs))


def measure(stack: Stack, *, is_quick: bool) -> str:
    """The section of the page. Fails when anything differs that must agree."""
    organizations: list[list[Key]] = orjson.loads(stack.shell("benchmarks.callers"))
    outcomes = []
    with _workers(stack) as workers:
        killed = {
            "the gateway": stack.portal,
            "the ingest worker": workers.ingest,
            "Redis": stack.redis,
            "PostgreSQL": stack.postgres,
        }
        for fault, keys in zip(FAULTS, organizations, strict=True):
            shorter = replace(fault, kills=1) if is_quick else fault
            outcome = _suffer(stack, workers, shorter, killed[fault.name], keys)
            print(f"{fault.name}: {dict(outcome.answers)}, {len(outcome.wrong)} differences", file=sys.stderr)
            outcomes.append(outcome)
    wrong = [f"{outcome.fault.name}: {what}" for outcome in outcomes for what in outcome.wrong]
    assert not wrong, "\n".join([f"{len(wrong)} differences", *wrong[:40]])
    return section(outcomes)


def _suffer(stack: Stack, workers: Workers, fault: Fault, part: Running, keys: list[Key]) -> Outcome:
    outcome, buried = Outcome(fault), _recorded(stack)["buried"]
    with Load(stack.portal_port, keys) as load, Reader(stack.portal_port) as reader:
        for _number in range(fault.kills):
            time.sleep(fault.before)
            part.kill()
            time.sleep(fault.away)
            if part is workers.ingest:
                outcome.most_waiting = max(outcome.most_waiting, int(stack.shell("benchmarks.trouble")))
                buried += 1
            part.start()
        time.sleep(fault.before)
    stopped = time.monotonic()
    outcome.answers, outcome.pages = load.answers, reader.statuses
    while not _is_settled(recorded := _recorded(stack)):
        workers.revive()
        assert time.monotonic() < stopped + PATIENCE_SECONDS, f"it is not settled: {_on_its_way(recorded)}"
    outcome.settled_seconds = time.monotonic() - stopped
    outcome.wrong += recorded["differences"]
    if recorded["buried"] != buried:
        outcome.wrong.append(f"{recorded['buried']} events went aside instead of {buried}")
    compare(outcome, _served(stack, keys), _of(recorded["calls"], "key_id", keys))
    return outcome


def _recorded(stack: Stack) -> dict[str, Any]:
    state: dict[str, Any] = orjson.loads(stack.shell("benchmarks.recorded"))
    return state


def _on_its_way(recorded: dict[str, Any]) -> dict[str, int]:
    return {name: recorded[name] for name in ("waiting", "running", "spooled")}


def _is_settled(recorded: dict[str, Any]) -> bool:
    return not any(_on_its_way(recorded).values())


def _served(stack: Stack, keys: list[Key]) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.fake_port}/calls") as answer:
        return _of(orjson.loads(answer.read()), "caller", keys)


def _of(calls: list[dict[str, Any]], whose: str, keys: list[Key]) -> list[dict[str, Any]]:
    known = {key["id"] for key in keys}
    return [call for call in calls if call[whose] in known]


def compare(outcome: Outcome, served: list[dict[str, Any]], recorded: list[dict[str, Any]]) -> None:
    """Find each call that was served in the ledger by its caller and the words of its prompt."""
    counted = [row for row in recorded if row["prompt_tokens"] and not row["is_estimated"]]
    exact = {(row["key_id"], row["prompt_tokens"]): row for row in counted}
    if len(exact) != len(counted):
        outcome.wrong.append(f"{len(counted) - len(exact)} calls are recorded twice")
    estimated = [row for row in recorded if row["is_estimated"]]
    for call in served:
        row = exact.pop((call["caller"], call["prompt_tokens"]), None)
        if row is None:
            outcome.lost += _counted(call, "sent_tokens")
            continue
        one, other = _counted(call, "sent_tokens"), _counted(row, "completion_tokens")
        outcome.served += one
        outcome.recorded += Counter({**other, "nano-dollars": row["cost_nano"]})
        if one != other or one["nano-dollars"] != row["cost_nano"]:
            outcome.wrong.append(f"{dict(one)} was served, {dict(other)} for {row['cost_nano']} was recorded")
    for row in estimated:
        outcome.estimated += _counted(row, "completion_tokens")
    if exact:
        outcome.wrong.append(f"{len(exact)} calls are recorded that were never served")
    _judge_estimates(outcome, served, estimated)


def _judge_estimates(outcome: Outcome, served: list[dict[str, Any]], estimated: list[dict[str, Any]]) -> None:
    """By the rule in `usage.calls`: only where the gateway died, no call without one, and none for more than came."""
    lost, charged = outcome.lost["calls"], outcome.estimated["calls"]
    if outcome.fault.name != "the gateway":
        if lost or charged:
            outcome.wrong.append(f"{lost} calls are not recorded as they were served, {charged} are estimated")
        return
    # A call that was admitted and had not yet reached the server is charged its prompt as well.
    if not lost <= charged <= outcome.answers["cut"]:
        outcome.wrong.append(f"{lost} calls were lost, {charged} estimated, {outcome.answers['cut']} cut off")
    sent = {(call["caller"], call["prompt_tokens"]): call["sent_tokens"] for call in served}
    for row in estimated:
        at_most = sent.get((row["key_id"], row["prompt_tokens"]))
        if not row["prompt_tokens"] or row["status"] != 500:
            outcome.wrong.append(f"a lost call is recorded as {row}")
        if at_most is not None and row["completion_tokens"] > at_most:
            outcome.wrong.append(f"{row['completion_tokens']} tokens are estimated where {at_most} were sent")
    if sum(bool(row["completion_tokens"]) for row in estimated) < LONG_STREAMS:
        outcome.wrong.append("of long streams no heartbeat was charged")


def _counted(call: dict[str, Any], output: str) -> Counter[str]:
    tokens = {"input": call["prompt_tokens"], "cached": call["cached_tokens"], "output": call[output]}
    cost = tokens["input"] * INPUT_NANO + tokens["output"] * OUTPUT_NANO
    return Counter({"calls": 1, **tokens, "nano-dollars": cost})


def section(outcomes: list[Outcome]) -> str:
    """What the page says about them."""
    columns = ("calls", "input", "cached", "output", "nano-dollars")

    def row(*words: str, of: Counter[str]) -> list[str]:
        return [*words, *(f"{of[column]:,}" for column in columns)]

    cells = []
    for outcome in outcomes:
        difference = Counter(outcome.recorded)
        difference.subtract(outcome.served)
        cells += [
            row(outcome.fault.name, "served", of=outcome.served),
            row("", "recorded", of=outcome.recorded),
            row("", "difference", of=difference),
        ]
    gateway, worker, _redis, postgres = outcomes
    lost = [row("served", of=gateway.lost), row("charged", of=gateway.estimated)]
    settled = ", ".join(f"{outcome.settled_seconds:.0f} s" for outcome in outcomes)
    errors = {status: number for status, number in postgres.pages.items() if status != 200}
    failed = ", ".join(f"{number} with {status}" for status, number in errors.items()) or "none"
    return f"""Killed with SIGKILL while {CALLERS + LONG_STREAMS} callers with three keys made calls, streams and
embeddings: {", ".join(f"{one.fault.name} {_times(one.fault.kills)}" for one in outcomes)}. Each was started again after
{", ".join(f"{one.fault.away:g} s" for one in outcomes)}. Redis and PostgreSQL are set up as the portal sets them up.
Tokens as the fake server sent them, call by call, and as the ledger has them when nothing is on its way any more:

{table(["killed", "", "calls", "input tokens", "of them cached", "output tokens", "nano-dollars"], cells, words=2)}

Every call agrees by itself, too, and so do events, sums and the counters of limits (`manage.py reconcile --strict`).
All was settled {settled} after the last call.

What a killed gateway had running is settled in its stead when the leases of those calls end, flagged as estimated, at
what the last heartbeat knew or else at the prompt; it is not among the calls above:

{table(["", "calls", "input tokens", "of them cached", "output tokens", "nano-dollars"], lost)}

While the ingest worker was away, {worker.most_waiting:,} entries waited in the stream at most. Copies of those that
waited, and an event that nobody can read, were put among them each time: the copies count nowhere, the others went
aside. While PostgreSQL was killed and recovered {postgres.pages.total():,} pages were asked for;
answered otherwise than with 200: {failed}.
A page waits five seconds for a connection, then says so with 503; one that loses it while it asks is read again.
"""


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")

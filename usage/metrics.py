"""What this machine's processes count of their calls, for Prometheus.

Each process that makes calls counts in its memory, and every few seconds writes all of it down as a page of its own in
the state folder. Who reads adds the pages up. What a dead process had counted is kept: sums that fell would read as
calls that were made.

Nothing here may fail a call. On a full disk the numbers stand still, which files mapped into memory would not do: those
end their process.
"""

import asyncio
import contextlib
import fcntl
import os
import uuid
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog
from django.conf import settings
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from common.errors import ApiError
from usage.events import Event

log = structlog.get_logger(__name__)

WRITTEN_EVERY_SECONDS = 5.0
GONE = "gone.prom"

# The times at which processes began cannot be added up.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()

CALLS = Counter("lyceum_calls", "Calls that have ended or were refused, by class of status.",
                ["model", "endpoint", "status"], registry=REGISTRY)  # fmt: skip
DURATION = Histogram("lyceum_call_duration_seconds", "How long calls took that reached an inference server.",
                     ["model", "endpoint"], registry=REGISTRY,
                     buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640))  # fmt: skip
FIRST_TOKEN = Histogram("lyceum_first_token_seconds", "How long streamed calls took until the first token.",
                        ["model", "endpoint"], registry=REGISTRY,
                        buckets=(0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30, 60))  # fmt: skip
TOKENS = Counter("lyceum_tokens", "Tokens, each of one kind: input, cached_input or output.",
                 ["model", "kind"], registry=REGISTRY)  # fmt: skip
REFUSALS = Counter("lyceum_refusals", "Calls that a limit or a budget refused.", ["limit"], registry=REGISTRY)
ERRORS = Counter("lyceum_errors", "Answers of /v1 that were errors, by HTTP status.", ["status"], registry=REGISTRY)
WITHOUT_REDIS = Counter("lyceum_admissions_without_redis", "Calls admitted by the limits of one process, because Redis "
                        "was away.", registry=REGISTRY)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Series:
    """What one kind of call counts in: looking each up by its labels would cost more than the counting."""

    calls: Counter
    duration: Histogram
    first_token: Histogram
    input: Counter
    cached_input: Counter
    output: Counter


_series: dict[tuple[str, str, int], _Series] = {}


def count(event: Event) -> None:
    """Count a call that is on record."""
    key = (event.model, event.endpoint, event.status // 100)
    series = _series.get(key)
    if series is None:
        series = _series[key] = _series_of(*key)
    series.calls.inc()
    if event.backend:
        series.duration.observe(event.latency_ms / 1000)
    if event.first_token_ms is not None:
        series.first_token.observe(event.first_token_ms / 1000)
    if event.prompt_tokens:
        series.input.inc(event.prompt_tokens - event.cached_tokens)
        if event.cached_tokens:
            series.cached_input.inc(event.cached_tokens)
    if event.completion_tokens:
        series.output.inc(event.completion_tokens)


def _series_of(model: str, endpoint: str, status_class: int) -> _Series:
    return _Series(
        calls=CALLS.labels(model, endpoint, f"{status_class}xx"),
        duration=DURATION.labels(model, endpoint),
        first_token=FIRST_TOKEN.labels(model, endpoint),
        input=TOKENS.labels(model, "input"),
        cached_input=TOKENS.labels(model, "cached_input"),
        output=TOKENS.labels(model, "output"),
    )


def count_refusal(model: str, endpoint: str, error: ApiError) -> None:
    """Count a call that was refused before it began; `model` is empty when it named none that there is."""
    CALLS.labels(model, endpoint, f"{error.status // 100}xx").inc()
    if error.limit:
        REFUSALS.labels(error.limit).inc()


def count_error(status: int) -> None:
    """Count an error that `/v1` answers, whoever was asking."""
    ERRORS.labels(str(status)).inc()


@dataclass(frozen=True, slots=True)
class Place:
    """A deployment as one event loop sees it."""

    model: str
    backend: str
    in_flight: int
    waiting: int
    is_passed_over: bool


UnderWay = Callable[[], tuple[int, list[Place]]]
"""How many calls an event loop has under way, and what it knows of each deployment. Any thread may ask."""


class _Watched:
    """What is under way in this process, on however many event loops: asked for when a page is written."""

    def __init__(self) -> None:
        self._loops: list[UnderWay] = []

    def add(self, under_way: UnderWay) -> None:
        self._loops.append(under_way)

    def remove(self, under_way: UnderWay) -> None:
        self._loops.remove(under_way)

    def collect(self) -> Iterable[Metric]:
        calls = 0
        in_flight, waiting, passed_over = (Counts[tuple[str, str]]() for _gauge in range(3))
        for under_way in list(self._loops):
            number, places = under_way()
            calls += number
            for place in places:
                in_flight[place.model, place.backend] += place.in_flight
                waiting[place.model, place.backend] += place.waiting
                passed_over[place.model, place.backend] += place.is_passed_over
        yield GaugeMetricFamily("lyceum_calls_in_flight", "Calls under way.", value=calls)
        for name, words, counts in (
            ("lyceum_deployment_calls_in_flight", "Calls under way at a deployment of a model.", in_flight),
            ("lyceum_deployment_calls_waiting", "Calls that wait for a slot at a deployment.", waiting),
            ("lyceum_deployment_circuits_open", "Processes that pass a deployment over, for it fails.", passed_over),
        ):
            family = GaugeMetricFamily(name, words, labels=["model", "backend"])
            for labels, value in counts.items():
                family.add_metric(labels, value)
            yield family


watched = _Watched()
REGISTRY.register(watched)


# Pages of processes ---------------------------------------------------------------------------------------------------


def folder() -> Path:
    """Where the processes of this machine write what they counted."""
    return Path(settings.VAR_DIR) / "metrics"


class _Page:
    """This process's page. A lock says that the process lives: its number may be that of one in another container."""

    def __init__(self) -> None:
        self._name = uuid.uuid4().hex
        self._lock: IO[bytes] | None = None
        self._locked: Path | None = None

    def write(self) -> None:
        path = folder() / f"{self._name}.lock"
        # Somebody may have emptied the folder meanwhile.
        if path != self._locked or not path.exists():
            self._lock, self._locked = _locked(path), path
        _put(path.with_suffix(".prom"), generate_latest(REGISTRY))


def _locked(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(".new")
    file = new.open("wb")
    fcntl.flock(file, fcntl.LOCK_EX)
    # Only now does it get the name that readers look for: before, it would be taken for one left behind.
    new.rename(path)
    return file


_page = _Page()


def write_page() -> None:
    """Write down what this process has counted. When the disk does not take it, the last page stays."""
    try:
        _page.write()
    except OSError as error:
        log.warning("metrics_not_written", error=type(error).__name__)


async def keep_page() -> None:
    """Go on writing it down."""
    while True:
        await asyncio.sleep(WRITTEN_EVERY_SECONDS)
        await asyncio.to_thread(write_page)


def counted() -> list[Metric]:
    """What the processes of this machine have counted together, as of their last pages."""
    directory = folder()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    # One reader at a time: another would count a page twice, or not at all, while it is put to those that are gone.
    with (directory / "readers").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Without room for that the pages of the dead are read as they are.
        with contextlib.suppress(OSError):
            _keep_what_is_gone(directory)
        return _sum(path.read_text() for path in directory.glob("*.prom"))


def _keep_what_is_gone(directory: Path) -> None:
    dead = list(_dead(directory))
    pages = [path.with_suffix(".prom") for path in dead if path.with_suffix(".prom").exists()]
    if pages:
        kept = directory / GONE
        texts = [path.read_text() for path in [*pages, *([kept] if kept.exists() else [])]]
        # What was under way there is under way no longer.
        _put(kept, generate_latest(Metrics(metric for metric in _sum(texts) if metric.type != "gauge")))
    for path in [*pages, *dead]:
        path.unlink()


def _dead(directory: Path) -> Iterator[Path]:
    for path in directory.glob("*.lock"):
        with contextlib.suppress(BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield path


def _sum(texts: Iterable[str]) -> list[Metric]:
    """The metrics of several pages, the samples of one name and one set of labels added up."""
    metrics: dict[str, Metric] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for text in texts:
        for found in text_string_to_metric_families(text):
            metrics.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            of_metric = sums.setdefault(found.name, {})
            for sample in found.samples:
                key = (sample.name, tuple(sample.labels.items()))
                of_metric[key] = of_metric.get(key, 0.0) + sample.value
    for name, metric in metrics.items():
        for (sample_name, labels), value in sums[name].items():
            metric.add_sample(sample_name, dict(labels), value)
    return list(metrics.values())


class Metrics:
    """Metrics as they are written out."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _put(path: Path, content: bytes) -> None:
    """Nobody ever reads half of it."""
    new = path.with_name(f"{path.stem}.{os.getpid()}.new")
    new.write_bytes(content)
    new.replace(path)

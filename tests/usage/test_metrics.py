"""What processes count, added up by whoever reads it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import LazySettings

from common.errors import BudgetError, InvalidRequestError, RateLimitError
from common.ids import uuid7
from portal.env import BASE_DIR
from usage import metrics
from usage.events import Event

CHAT = "chat/completions"
OTHER_PROCESS = """
import django; django.setup()
from usage import metrics
metrics.watched.add(lambda: (4, [metrics.Place("m", "gpu-1", 3, 2, True)]))
metrics.CALLS.labels("m", "chat/completions", "2xx").inc(5)
metrics.write_page()
print("written", flush=True)
input()
"""


@pytest.fixture(autouse=True)
def var(settings: LazySettings, tmp_path: Path) -> Path:
    """A state folder of its own, and so a page that no other test's process has written."""
    settings.VAR_DIR = tmp_path
    return tmp_path


EVENT = Event(
    id=uuid7().hex,
    request_id="req_1",
    source="key",
    organization_id="org_1",
    project_id="proj_1",
    key_id="key_1",
    user_id="",
    model="m",
    backend="gpu-1",
    endpoint=CHAT,
    status=200,
    error_code="",
    is_streamed=True,
    is_estimated=False,
    prompt_tokens=10,
    cached_tokens=4,
    completion_tokens=7,
    cost_nano=0,
    latency_ms=1200,
    first_token_ms=90,
)


def numbers() -> dict[tuple[str, ...], float]:
    """Each sample by its name and its labels, of this process and those that wrote into the same folder."""
    metrics.write_page()
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for metric in metrics.counted()
        for sample in metric.samples
    }


def of_calls(model: str, status: str) -> tuple[str, ...]:
    return ("lyceum_calls_total", f"endpoint={CHAT}", f"model={model}", f"status={status}")


def test_it_works() -> None:
    metrics.count(replace(EVENT, model="whole"))
    metrics.count(replace(EVENT, model="whole", latency_ms=30_000, first_token_ms=None))
    metrics.count(
        replace(EVENT, model="whole", status=502, backend="", prompt_tokens=0, completion_tokens=0, first_token_ms=None)
    )
    found = numbers()
    assert (found[of_calls("whole", "2xx")], found[of_calls("whole", "5xx")]) == (2, 1)
    labels = (f"endpoint={CHAT}", "model=whole")
    # A call that no server had took no server's time.
    assert found["lyceum_call_duration_seconds_count", *labels] == 2
    assert found["lyceum_call_duration_seconds_sum", *labels] == pytest.approx(31.2)
    assert found["lyceum_call_duration_seconds_bucket", labels[0], "le=2.5", labels[1]] == 1
    assert found["lyceum_first_token_seconds_count", *labels] == 1
    kinds = {
        kind: found["lyceum_tokens_total", f"kind={kind}", "model=whole"]
        for kind in ("input", "cached_input", "output")
    }
    assert kinds == {"input": 12, "cached_input": 8, "output": 14}


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (RateLimitError("", kind="requests", wait_seconds=1, limit="tokens_per_day"), "tokens_per_day"),
        (BudgetError(""), "key_budget"),
        (BudgetError("", of="organization", span="daily"), "organization_budget"),
    ],
)
def test_a_refusal_is_counted_by_its_limit(error: RateLimitError | BudgetError, limit: str) -> None:
    before = numbers().get(("lyceum_refusals_total", f"limit={limit}"), 0)
    metrics.count_refusal("m", CHAT, error)
    assert numbers()["lyceum_refusals_total", f"limit={limit}"] == before + 1


def test_what_no_limit_refuses_is_a_call_alone() -> None:
    before = sum(value for key, value in numbers().items() if key[0] == "lyceum_refusals_total")
    metrics.count_refusal("", CHAT, InvalidRequestError("No."))
    found = numbers()
    assert found[of_calls("", "4xx")] >= 1
    assert sum(value for key, value in found.items() if key[0] == "lyceum_refusals_total") == before


@contextmanager
def other_process(var: Path) -> Iterator["subprocess.Popen[str]"]:
    environment = {"PATH": "", "DJANGO_SETTINGS_MODULE": "tests.settings", "LYCEUM_VAR": str(var / "tests-0")}
    (var / "tests-0").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS],
        env=environment,
        cwd=BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        try:
            yield process
        finally:
            process.kill()


def test_processes_are_added_up_and_the_dead_keep_what_they_counted(var: Path, settings: LazySettings) -> None:
    """Sums that fell would read as a restart, and all that is left as new calls."""
    settings.VAR_DIR = var / "tests-0"
    metrics.CALLS.labels("m", CHAT, "2xx").inc(2)
    (settings.VAR_DIR).mkdir()
    alone = numbers()
    in_flight = ("lyceum_deployment_calls_in_flight", "backend=gpu-1", "model=m")
    passed_over = ("lyceum_deployment_circuits_open", "backend=gpu-1", "model=m")
    for times in (1, 2):
        with other_process(var):
            found = numbers()
            assert found[of_calls("m", "2xx")] == alone[of_calls("m", "2xx")] + 5 * times
            assert (found[in_flight], found[passed_over]) == (3, 1)
            assert found["lyceum_calls_in_flight",] == alone["lyceum_calls_in_flight",] + 4
        found = numbers()
        assert found[of_calls("m", "2xx")] == alone[of_calls("m", "2xx")] + 5 * times
        assert in_flight not in found
        assert found["lyceum_calls_in_flight",] == alone["lyceum_calls_in_flight",]


def test_a_full_disk_stops_the_numbers_and_nothing_else(var: Path) -> None:
    numbers()
    page, *_others = metrics.folder().glob("*.prom")
    page.with_name(f"{page.stem}.{os.getpid()}.new").mkdir()
    before = page.read_text()
    metrics.count(replace(EVENT, model="unwritten"))
    metrics.write_page()
    assert page.read_text() == before

"""Measures the portal, prints what came of it and writes it to docs/performance.md."""

import argparse
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks import calls, faults, memory, streams
from benchmarks.page import renewed
from benchmarks.processes import ROOT
from benchmarks.stack import Stack, stack

PAGE = ROOT / "docs" / "performance.md"
# The page's last section, written by hand.
FOUND = "What profiles showed"


class Measure(Protocol):
    """Measures one section on a stack of its own; what the page is to say."""

    def __call__(self, stack: Stack, *, is_quick: bool) -> str: ...


@dataclass(frozen=True)
class Section:
    """A part of the page. `is_long`: it is measured only when it is asked for by name. `has_faults`: it needs a stack
    that outlives them."""

    title: str
    measure: Measure
    is_long: bool = False
    has_faults: bool = False


def _in_django(module: str, *, given: Sequence[object] = (), quick: Sequence[object] = ()) -> Measure:
    """A section that is measured with Django set up: its module prints it, of what is `given`."""

    def measure(stack: Stack, *, is_quick: bool) -> str:
        return stack.shell(f"benchmarks.{module}", *(quick if is_quick else given))

    return measure


def _beside(measure: Measure, *worker: str) -> Measure:
    """A section that is measured beside a worker."""

    def measure_beside(stack: Stack, *, is_quick: bool) -> str:
        command = [sys.executable, "-m", "celery", "-A", "portal", "--quiet", "worker", "-P", "threads", *worker]
        process = subprocess.Popen([*command, "-l", "warning"], cwd=ROOT, env=stack.environment)
        try:
            return measure(stack, is_quick=is_quick)
        finally:
            process.terminate()
            process.wait(30)

    return measure_beside


# In the order of the page.
SECTIONS = {
    "calls": Section("Calls", calls.measure),
    "streams": Section("Streams", streams.measure),
    "memory": Section("Memory over a million calls", memory.measure, is_long=True),
    "keys": Section("Keys", _in_django("keys")),
    "people": Section("People", _in_django("people")),
    "timing": Section("What a clock tells", _in_django("timing")),
    "playground": Section("Playground", _beside(_in_django("playground"), "-Q", "inference", "-c", "16")),
    # So many calls of one key, and so many keys.
    "limits": Section("Limits", _in_django("limits", given=[3000, 500], quick=[200, 100])),
    "ingest": Section("Usage events", _in_django("ingest")),
    # As many seconds; the worker that writes usage down, and the beat that wakes it, as the portal runs them.
    "fresh": Section(
        "From a call to the pages",
        _beside(
            _in_django("fresh", given=[60], quick=[5]),
            "-Q",
            "usage",
            "-c",
            "3",
            "-B",
            "--scheduler",
            "celery.beat:Scheduler",
        ),
    ),
    # So many calls are in the ledger, and so many are added.
    "growth": Section(
        "A ledger that grows",
        _in_django("growth", given=[(1_000_000, 10_000_000), 60_000], quick=[(20_000, 200_000), 5_000]),
        is_long=True,
    ),
    "year": Section("A year of usage", _in_django("year")),
    "faults": Section("Served and recorded", faults.measure, is_long=True, has_faults=True),
}
TITLES = [*(section.title for section in SECTIONS.values()), FOUND]


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"one of {', '.join(SECTIONS)}; else all but the long ones"
    )
    parser.add_argument("--quick", action="store_true", help="a short try that says nothing: print, and leave the page")
    asked = parser.parse_args()
    if unknown := set(asked.sections) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}: choose of {', '.join(SECTIONS)}")
    _open_many_files()
    for name, section in SECTIONS.items():
        if name in asked.sections or not (asked.sections or section.is_long):
            # On stores of its own: what one has made does not weigh on another, measured with it or without.
            with stack(is_for_faults=section.has_faults) as running:
                text = section.measure(running, is_quick=asked.quick)
            print(f"## {section.title}\n\n{text}\n", flush=True)
            if not asked.quick:
                PAGE.write_text(renewed(PAGE.read_text(), {section.title: text}, TITLES))
    return 0


def _open_many_files() -> None:
    """Allow as many connections as the machine does; what is started here may open as many."""
    _now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())

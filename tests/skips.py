"""A pytest plugin: prints what was skipped, and fails the run for a skip that tests/allowed_skips.txt does not name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def allowed_skips(text: str) -> set[str]:
    """The test ids in the list; what follows `#` is the reason, for the reader."""
    return {name for line in text.splitlines() if (name := line.partition("#")[0].strip())}


class Skips:
    """Collects the skipped tests of a run."""

    def __init__(self, allowed: set[str]) -> None:
        self._allowed = allowed
        self._skipped: dict[str, str] = {}

    @property
    def refused(self) -> list[str]:
        return sorted(name for name in self._skipped if name.partition("[")[0] not in self._allowed)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report.nodeid, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._note(report.nodeid, report.longrepr)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        yield
        if self.refused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_sep("=", f"{len(self._skipped)} skipped")
        for name, reason in sorted(self._skipped.items()):
            verdict = "NOT ALLOWED" if name in self.refused else "allowed"
            terminalreporter.write_line(f"{verdict}: {name}: {reason}")

    def _note(self, name: str, reason: object) -> None:
        self._skipped[name] = str(reason[2]) if isinstance(reason, tuple) else str(reason)


def pytest_configure(config: pytest.Config) -> None:
    """Count in the process that sees every report; those that run tests for it report to it."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Skips(allowed_skips(ALLOWED.read_text(encoding="utf-8"))), "skips")

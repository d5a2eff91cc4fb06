"""The plugin that lets no test be skipped unnoticed, over small suites of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import allowed_skips

SUITE = """\
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_skipped(number):
    pytest.skip("no ferry today")

@pytest.mark.xfail
def test_expected_to_fail():
    assert False

def test_passing():
    pass
"""
RUN = """\
import sys
import pytest
from pathlib import Path
from tests.skips import Skips, allowed_skips

sys.exit(pytest.main(sys.argv[1:], plugins=[Skips(allowed_skips(Path("allowed").read_text()))]))
"""


def run(folder: Path, allowed: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "allowed").write_text(allowed)
    plain = ("-p", "xdist", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder))
    return subprocess.run(
        [sys.executable, "-c", RUN, *plain, *arguments, "test_suite.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("processes", [(), ("-n", "1")], ids=["one process", "workers"])
def test_it_works(tmp_path: Path, processes: tuple[str, ...]) -> None:
    done = run(tmp_path, "", *processes)
    assert done.returncode == 1
    assert "NOT ALLOWED: test_suite.py::test_skipped[1]: Skipped: no ferry today" in done.stdout
    assert "2 skipped" in done.stdout


def test_an_allowed_skip_is_printed_and_passes(tmp_path: Path) -> None:
    done = run(tmp_path, "test_suite.py::test_skipped  # the ferry rests on Sundays\n")
    assert done.returncode == 0
    assert "allowed: test_suite.py::test_skipped[2]: Skipped: no ferry today" in done.stdout


def test_a_list_has_reasons_and_comments() -> None:
    assert allowed_skips("# why\n\na::b  # because\n c::d\n") == {"a::b", "c::d"}

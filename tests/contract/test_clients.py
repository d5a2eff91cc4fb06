"""The clients that developers use, against a running gateway: docs/compatibility.md is what is seen here."""

import pytest

from tests.contract.conftest import programs
from tests.contract.table import PAGE, Report, page


@pytest.mark.parametrize("client", programs())
def test_it_works(client: str, reports: dict[str, Report]) -> None:
    failures = reports[client].failures
    assert not failures, "\n".join(f"{name}:\n{trace}" for name, trace in failures.items())


def test_the_page_says_what_was_seen(reports: dict[str, Report], request: pytest.FixtureRequest) -> None:
    seen = page(list(reports.values()))
    # Not known in a run of all tests, which reads the options of this folder too late.
    if request.config.getoption("--write-table", default=False):
        PAGE.write_text(seen)
    assert PAGE.read_text() == seen, "The page differs from what was seen: `make contract` writes it anew."

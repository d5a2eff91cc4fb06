"""docs/performance.md: what was measured takes its place, and everything else stays as it was measured."""

import re

from benchmarks import __main__ as program
from benchmarks import page

TITLES = ["Calls", "Streams", "Keys"]


def test_it_works() -> None:
    before = "# Old\n\nOld words.\n\n## Calls\n\nMeasured long ago.\n\n### Whole\n\n| a |\n\n## Keys\n\nFast.\n"
    after = page.renewed(before, {"Calls": "New.\n"}, TITLES)
    assert after.startswith("# Performance\n")
    assert "Old words" not in after
    assert "Measured long ago" not in after
    assert "### Whole" not in after
    assert re.search(
        r"\n## Calls\n\nMeasured on \d{4}-\d\d-\d\d: \d+ cores .*\.\n\nNew\.\n\n## Keys\n\nFast\.\n$", after
    )


def test_a_section_that_is_new_comes_in_its_place() -> None:
    after = page.renewed("# P\n\n## Keys\n\nFast.\n\n## Calls\n\nMany.\n", {"Streams": "Long."}, TITLES)
    assert re.findall(r"^## (.*)", after, re.MULTILINE) == TITLES


def test_the_page_in_the_repository_is_what_is_written() -> None:
    written = program.PAGE.read_text()
    assert page.renewed(written, {}, program.TITLES) == written
    assert set(re.findall(r"^## (.*)", written, re.MULTILINE)) <= set(program.TITLES)

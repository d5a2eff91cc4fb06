"""docs/performance.md: sections in a fixed order, each measured, dated and replaced by itself."""

import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

INTRODUCTION = """# Performance

`make bench` measures this and writes this page; `make bench SECTION=streams` measures one section anew, and each says
when it was. Everything runs on one machine, which the load generator and the fake inference server share, so read the
ratios rather than the bare numbers.
"""


def renewed(page: str, measured: Mapping[str, str], titles: Sequence[str]) -> str:
    """The page with what was measured in place of what it said; a section that it never had, and still has not, is
    left out."""
    parts = (part.partition("\n") for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:])
    sections = {title.strip(): text.strip() for title, _end, text in parts}
    sections |= {title: f"Measured on {_today()}: {machine()}.\n\n{text.strip()}" for title, text in measured.items()}
    return INTRODUCTION + "".join(f"\n## {title}\n\n{sections[title]}\n" for title in titles if title in sections)


def machine() -> str:
    """The machine in half a line."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores ({model}), {platform.system()}, Python {platform.python_version()}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """A table in Markdown whose first columns are words and the others numbers."""
    marks = ["---"] * words + ["---:"] * (len(head) - words)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())

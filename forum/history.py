"""What changed from one version of a text to the next."""

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

# Comparing takes time in the square of the lines; nobody reads a comparison longer than this line by line.
MAX_LINES = 1500


@dataclass(frozen=True)
class Line:
    """One line of a comparison."""

    change: Literal["same", "added", "removed"]
    text: str


def compare(before: str, after: str) -> list[Line]:
    """The lines of both texts in order, each said to be the same, added or removed."""
    old, new = before.splitlines(), after.splitlines()
    if len(old) + len(new) > MAX_LINES:
        return [Line("removed", text) for text in old] + [Line("added", text) for text in new]
    lines: list[Line] = []
    for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=True).get_opcodes():
        if tag == "equal":
            lines += [Line("same", text) for text in old[start:end]]
        else:
            lines += [Line("removed", text) for text in old[start:end]]
            lines += [Line("added", text) for text in new[new_start:new_end]]
    return lines

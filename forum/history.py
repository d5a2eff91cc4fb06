"""What changed from one version of a text to the next."""

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

# Comparing takes time in the square of the lines that differ and more; so many are compared line by line.
MOST_COMPARED = 400
# Nobody reads on, and every line is a row of the page.
MOST_SHOWN = 500
# Unchanged lines that are shown around a change.
CONTEXT = 3


@dataclass(frozen=True)
class Line:
    """One line of a comparison, or in its place the `count` lines that are left out.

    `folded` ones are unchanged, `cut` ones are more of what stands before them.
    """

    change: Literal["same", "added", "removed", "folded", "cut"]
    text: str = ""
    count: int = 0


def compare(before: str, after: str) -> list[Line]:
    """The lines of both texts in order, each said to be the same, added or removed, without most unchanged ones."""
    old, new = before.splitlines(), after.splitlines()
    shortest = min(len(old), len(new))
    start = next((place for place in range(shortest) if old[place] != new[place]), shortest)
    rest = shortest - start
    end = next((place for place in range(rest) if old[-1 - place] != new[-1 - place]), rest)
    changed_old, changed_new = old[start : len(old) - end], new[start : len(new) - end]
    return [*_same(old[:start]), *_compared(changed_old, changed_new), *_same(old[len(old) - end :])]


def _compared(old: list[str], new: list[str]) -> list[Line]:
    if len(old) + len(new) > MOST_COMPARED:
        return [*_shown("removed", old), *_shown("added", new)]
    lines: list[Line] = []
    for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=True).get_opcodes():
        if tag == "equal":
            lines += _same(old[start:end])
        else:
            lines += _shown("removed", old[start:end])
            lines += _shown("added", new[new_start:new_end])
    return lines


def _same(texts: list[str]) -> list[Line]:
    left_out = len(texts) - 2 * CONTEXT
    if left_out < 2:
        return [Line("same", text) for text in texts]
    first, last = texts[:CONTEXT], texts[-CONTEXT:]
    return [
        *(Line("same", text) for text in first),
        Line("folded", count=left_out),
        *(Line("same", text) for text in last),
    ]


def _shown(change: Literal["added", "removed"], texts: list[str]) -> list[Line]:
    lines = [Line(change, text) for text in texts[:MOST_SHOWN]]
    if len(texts) > MOST_SHOWN:
        lines.append(Line("cut", count=len(texts) - MOST_SHOWN))
    return lines

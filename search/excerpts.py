"""The part of a document that shows why it was found."""

import re
from dataclasses import dataclass

from search import tokens

LENGTH = 180


@dataclass(frozen=True)
class Piece:
    """A stretch of an excerpt; `is_match` when it is one of the words that were looked for."""

    text: str
    is_match: bool


def excerpt(body: str, query: str) -> list[Piece]:
    """About LENGTH characters of `body` around the first word of `query`, cut into pieces for marking."""
    body = " ".join(body.split())
    words = sorted(set(tokens.words(query)), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, words)), re.IGNORECASE) if words else None
    first = pattern.search(body) if pattern else None
    start = max(0, first.start() - LENGTH // 3) if first else 0
    if start:
        # Begin, and below end, between words where the script has spaces between words.
        space = body.find(" ", start, start + 20)
        start = space + 1 if space > 0 else start
    end = min(start + LENGTH, len(body))
    if end < len(body):
        space = body.rfind(" ", end - 20, end + 1)
        end = space if space > 0 else end
    shown = body[start:end]
    pieces: list[Piece] = [Piece("…", False)] if start else []
    at = 0
    for match in pattern.finditer(shown) if pattern else ():
        pieces.append(Piece(shown[at : match.start()], False))
        pieces.append(Piece(match[0], True))
        at = match.end()
    pieces.append(Piece(shown[at:] + ("…" if end < len(body) else ""), False))
    return [piece for piece in pieces if piece.text]

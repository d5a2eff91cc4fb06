"""Words of a text, the same way for what is indexed and for what is searched.

PostgreSQL's own parser finds no words in Chinese (0 to 2 of 400 matches, measured), so words are made here: a run of
Chinese, Japanese or Korean characters becomes its overlapping pairs, anything else its words, names such as
`max_tokens` and `gpt-4.1` both whole and in parts.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

MAX_TOKENS = 40_000
MAX_QUERY_CHARACTERS = 200
MAX_QUERY_WORDS = 12
_MAX_WORD = 64

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0002fa1f"
_RUN = re.compile(rf"(?P<cjk>[{_CJK}]+)|(?P<word>[^\W{_CJK}]+(?:[.-][^\W{_CJK}]+)*[+#]*)")
_JOINT = re.compile(r"[._-]+")


def normal(text: str) -> str:
    """`text` with full-width forms, ligatures and capitals evened out."""
    return unicodedata.normalize("NFKC", text).lower()


def _positions(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Each word with its place. Parts of a compound follow each other; the whole stands where its first part does."""
    place = start
    for match in _RUN.finditer(normal(text)):
        if run := match["cjk"]:
            for first, second in pairwise(run):
                yield first + second, place
                place += 1
            # The last character alone, so that searching for one character finds it there too.
            yield run[-1], place
            place += 1
            continue
        word = match["word"][:_MAX_WORD]
        parts = _parts(word)
        if parts != [word]:
            yield word, place
        for part in parts:
            yield part, place
            place += 1


def _parts(word: str) -> list[str]:
    return [part for part in _JOINT.split(word) if part] or [word]


def vector(*, title: str, tags: str = "", body: str = "") -> str:
    """The text of a tsvector: title weighs A, tags B, body C."""
    places: dict[str, list[str]] = defaultdict(list)
    place, count = 1, 0
    for text, weight in ((title, "A"), (tags, "B"), (body, "C")):
        for word, at in _positions(text, place):
            count += 1
            if count > MAX_TOKENS:
                break
            places[word].append(f"{min(at, 16383)}{weight}")
            place = at
        place += 2  # nothing is a phrase across the border of two fields
    return " ".join(f"{_quoted(word)}:{','.join(at[:250])}" for word, at in places.items())


def query(text: str) -> str:
    """The text of a tsquery that finds every word of `text`; empty when it holds no word.

    Latin words of three letters and more find longer words too: `token` finds `tokens`.
    """
    terms: list[str] = []
    for match in _RUN.finditer(normal(text[:MAX_QUERY_CHARACTERS])):
        if run := match["cjk"]:
            pairs = [_quoted(first + second) for first, second in pairwise(run)]
            terms.append(" <-> ".join(pairs) if pairs else f"{_quoted(run)}:*")
            continue
        word = match["word"][:_MAX_WORD]
        parts = _parts(word)
        *head, last = parts
        phrase = " <-> ".join([*map(_quoted, head), _open(last)])
        terms.append(phrase if parts == [word] else f"{_quoted(word)}:* | ({phrase})")
    return " & ".join(f"({term})" for term in terms[:MAX_QUERY_WORDS])


def words(text: str) -> list[str]:
    """The runs of `text` as they would be looked for, for marking them in an excerpt."""
    return [match[0] for match in _RUN.finditer(normal(text[:MAX_QUERY_CHARACTERS]))][:MAX_QUERY_WORDS]


def _open(word: str) -> str:
    return f"{_quoted(word)}:*" if len(word) >= 3 else _quoted(word)


def _quoted(word: str) -> str:
    # No word holds a quote or a backslash (see _RUN); doubling them keeps that from being a matter of trust.
    escaped = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"

"""Tutorials as they lie on disk: one Markdown file per language, with front matter, under `docs_site/content/`."""

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import yaml

CONTENT = Path(__file__).parent / "content"
SOURCE_LANGUAGE = "en"
FRONT_MATTER = re.compile(r"\A---\n(?P<fields>.*?)\n---\n(?P<body>.*)\Z", re.DOTALL)
HAN = re.compile(r"[\u3400-\u9fff]")
WORD = re.compile(r"[A-Za-z0-9_][\w'./-]*")
# Reading speeds of technical prose, code included: it is read more slowly and there is less of it.
WORDS_PER_MINUTE = 200
HAN_PER_MINUTE = 400


class TutorialError(Exception):
    """A tutorial's file cannot be used as it is; the message names the file."""


@dataclass(frozen=True)
class Tutorial:
    """One page in one language. `body` is Markdown with its placeholders still in it."""

    slug: str
    language: str
    title: str
    summary: str
    section: str
    order: int
    updated: date
    body: str

    @property
    def source(self) -> str:
        """Where the text is in the repository."""
        return f"docs_site/content/{self.language}/{self.slug}.md"

    @property
    def minutes(self) -> int:
        """How long reading takes, at least one minute."""
        han, words = len(HAN.findall(self.body)), len(WORD.findall(self.body))
        return max(1, round(han / HAN_PER_MINUTE + words / WORDS_PER_MINUTE))


def tutorial(slug: str, language: str) -> Tutorial | None:
    """The page in `language`, in English where it is not translated, None when there is no such page."""
    for candidate in (language, SOURCE_LANGUAGE):
        # Looked up among those that exist: a slug comes from the address bar and may be no name of a file at all.
        path = next((path for path in (CONTENT / candidate).glob("*.md") if path.stem == slug), None)
        if path is not None:
            return _read(path, path.stat().st_mtime_ns)
    return None


def all_tutorials(language: str) -> list[Tutorial]:
    """Every page in reading order, each in `language` where it is translated and in English where it is not."""
    found = (tutorial(path.stem, language) for path in (CONTENT / SOURCE_LANGUAGE).glob("*.md"))
    return sorted((page for page in found if page), key=lambda page: (page.order, page.slug))


# Keyed by the time of the last change, so that an edit shows without a restart.
@lru_cache(maxsize=256)
def _read(path: Path, changed_ns: int) -> Tutorial:
    match = FRONT_MATTER.match(path.read_text(encoding="utf-8"))
    if match is None:
        raise TutorialError(f"{path}: a tutorial begins with front matter between two lines of ---.")
    fields = yaml.safe_load(match["fields"])
    try:
        return Tutorial(slug=path.stem, language=path.parent.name, body=match["body"].strip() + "\n", **fields)
    except TypeError as error:
        raise TutorialError(f"{path}: front matter has exactly title, summary, section, order and updated.") from error

"""`python -m tests.left_behind FOLDER`: no key of ours and no prompt stands in anything that the tests wrote.

That is every row of every test, in the tables of PostgreSQL and in its log of changes; every command Redis took; and
what the portal logged and wrote to its folders.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import django

OPENS_NOTHING = "A key that opens nothing: "
"""What a test writes before one that may be published: people show what they have revoked."""
PROMPT = "what-a-model-was-asked-and-nobody-keeps"
"""What tests ask models, where it is to be seen that it is kept nowhere."""
CHUNK_BYTES = 64 * 2**20
OVERLAP_BYTES = 300
"""What is read twice, so that a key on the edge of two chunks is seen, and what stands before it."""


def keys_in(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files below `folder` in which a well-formed key or PROMPT stands, each with what stands before it."""
    for place, _folders, names in os.walk(folder, followlinks=True):
        for file in (Path(place, name) for name in names):
            if file.is_file():
                yield from ((file, text) for text in _keys_in_file(file).values())


def _keys_in_file(file: Path) -> dict[str, str]:
    """PROMPT, and each key that may open something, and what stands before it the first time."""
    from apikeys.verification import find_keys

    found: dict[str, str] = {}
    with file.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            text = chunk.decode("latin-1")
            for key in [*find_keys(text), *([PROMPT] if PROMPT in text else [])]:
                end = text.index(key) + len(key)
                before = text[max(0, end - OVERLAP_BYTES) : end]
                if not before.endswith(OPENS_NOTHING + key):
                    found.setdefault(key, before)
            if len(chunk) == CHUNK_BYTES:
                content.seek(-OVERLAP_BYTES, os.SEEK_CUR)
    return found


def main(folder: str) -> int:
    """Print what was found; the exit status, 1 when it was anything."""
    django.setup()
    found = list(keys_in(Path(folder)))
    for file, text in found:
        print(f"A key or a prompt stands in {file}: {text!r}")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

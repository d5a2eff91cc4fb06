import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from apikeys.verification import KIND_PARTS, new_secret
from tests import left_behind
from tests.left_behind import OPENS_NOTHING, PROMPT, keys_in


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is gone when the test is: all others are looked through at the end of the run."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("kind", KIND_PARTS)
def test_it_works(folder: Path, kind: str) -> None:
    secret = new_secret(kind)
    inner = folder / "data" / "base"
    inner.mkdir(parents=True)
    (inner / "1259").write_bytes(b"\x00\xff\x07a name\x00" + secret.encode() + b"\x00\xfe")
    (inner / "1260").write_text(f"{secret[:-1]} {OPENS_NOTHING}{secret}")
    (folder / "linked").symlink_to(inner)
    assert {file for file, _text in keys_in(folder)} == {inner / "1259", folder / "linked" / "1259"}
    assert left_behind.main(str(folder)) == 1
    (inner / "1259").unlink()
    assert left_behind.main(str(folder)) == 0


def test_a_key_on_the_edge_of_what_is_read_at_once_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_behind, "CHUNK_BYTES", 1000)
    secret = new_secret()
    for before in range(600, 720):
        (folder / "log").write_text("-" * before + secret + "-" * 3000)
        assert [text[-len(secret) :] for _file, text in keys_in(folder)] == [secret], before


def test_a_prompt_is_found(folder: Path) -> None:
    (folder / "log").write_bytes(b"\x00asked: " + PROMPT.encode())
    assert [text for _file, text in keys_in(folder)] == [f"\x00asked: {PROMPT}"]

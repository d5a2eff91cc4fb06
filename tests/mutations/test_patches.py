"""A mutant whose guard has moved removes nothing: it is to be mended with the change that moved it."""

import subprocess
from pathlib import Path

import pytest

from tests.mutations import __main__ as mutants


@pytest.mark.parametrize("patch", sorted(mutants.HERE.glob("*.patch")), ids=lambda patch: patch.stem)
def test_it_applies_and_its_test_is_there(patch: Path) -> None:
    command = ["git", "apply", "--check", str(patch)]
    done = subprocess.run(command, cwd=mutants.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file, _colons, name = mutants.test_of(patch).partition("::")
    assert f"def {name.partition('[')[0].rpartition('::')[2]}(" in (mutants.ROOT / file).read_text()

"""Takes one guard away at a time and sees that the test that stands for it fails: `python -m tests.mutations [NAME…]`.

Each `*.patch` here removes one guard. Its first line names the test that must notice: `Test: tests/…::test_…`. It
is applied to a copy of the working tree, so that nothing of a mutant can stay.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.services import postgres, redis

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PREFIX = "Test: "
# What a test needs beside the files that git knows: the bundle and the compiled translations.
BUILT = ("static/dist",)


def test_of(patch: Path) -> str:
    """The test that a patch names."""
    first = patch.read_text().partition("\n")[0]
    if not first.startswith(PREFIX):
        sys.exit(f"{patch.name} does not begin with `{PREFIX}tests/…::test_…`.")
    return first.removeprefix(PREFIX).strip()


def copy_tree(target: Path) -> None:
    """The working tree as it is, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source = ROOT / name
        if source.is_file():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)
    for name in BUILT:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, target / name, dirs_exist_ok=True)
    for compiled in (ROOT / "locale").rglob("*.mo"):
        shutil.copy2(compiled, target / compiled.relative_to(ROOT))


def run_test(tree: Path, test: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", test, "-q", "-x", "--create-db", "-p", "no:randomly"]
    return subprocess.run(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def judge(patch: Path, environment: dict[str, str]) -> str:
    """Empty when the mutant is noticed, else what is wrong."""
    test = test_of(patch)
    with tempfile.TemporaryDirectory(prefix="lyceum-mutant-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        applied = subprocess.run(
            ["git", "apply", "--whitespace=nowarn", str(patch)],
            cwd=tree,
            # Outside of any repository, or git would look for the files of that one.
            env={**environment, "GIT_CEILING_DIRECTORIES": str(tree.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if applied.returncode:
            return f"the patch does not apply: {applied.stdout.strip()}"
        done = run_test(tree, test, environment)
    # 1 is a test that failed. Anything else says that it was not run, which notices nothing.
    if done.returncode == 0:
        return f"{test} passes without the guard"
    if done.returncode != 1:
        return f"{test} could not be run:\n{done.stdout[-2000:]}"
    return ""


def main(names: list[str]) -> int:
    """Judge every mutant, or those named; the exit status."""
    patches = [patch for patch in sorted(HERE.glob("*.patch")) if not names or patch.stem in names]
    with ExitStack() as parts:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "LYCEUM_VAR": parts.enter_context(tempfile.TemporaryDirectory(prefix="lyceum-var-")),
            "DATABASE_URL": parts.enter_context(postgres()),
            "REDIS_URL": parts.enter_context(redis(durable=True)),
            "REDIS_VOLATILE_URL": parts.enter_context(redis(durable=False)),
        }
        failed = False
        for patch in patches:
            fault = judge(patch, environment)
            print(f"{'FAILED' if fault else 'ok    '}  {patch.stem}", flush=True)  # noqa: T201
            if fault:
                print(fault, flush=True)  # noqa: T201
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

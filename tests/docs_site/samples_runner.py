"""Runs the samples of the tutorials as a reader would: with bash, Python and Node.js, against a running portal.

From the command line, against any portal (the models default to the first that `/v1/models` lists):

    python -m tests.docs_site.samples_runner http://localhost:8000 \\
        "$LYCEUM_API_KEY" "$LYCEUM_ADMIN_KEY" [CHAT_MODEL [EMBEDDING_MODEL]]
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs_site.samples import Fence, Values, fences
from docs_site.tutorials import CONTENT, Tutorial, tutorial
from lyceum import find_npm
from portal.env import var_dir

HERE = Path(__file__).parent
SECONDS = 60
FILE_NAMES = {"bash": "sample.sh", "python": "sample.py", "javascript": "sample.mjs"}


@dataclass(frozen=True)
class Sample:
    """One runnable fence, and where it stands."""

    page: Tutorial
    number: int
    fence: Fence

    def __str__(self) -> str:
        return f"{self.page.language}/{self.page.slug}-{self.number}-{self.fence.language}"


class SampleError(Exception):
    """A sample did not do what its page says; the message holds what it printed."""


def every_sample() -> Iterator[Sample]:
    """The runnable samples of every page in every language."""
    for path in sorted(CONTENT.glob("*/*.md")):
        page = tutorial(path.stem, path.parent.name)
        if page is not None:
            for number, fence in enumerate(fences(page.body), start=1):
                if fence.is_runnable:
                    yield Sample(page, number, fence)


def node_modules() -> Path:
    """A folder with the pinned `openai` package, installed once per lock file."""
    lock = (HERE / "package-lock.json").read_text()
    home = var_dir() / "samples"
    installed = home / "installed.json"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # tests run in several processes, and one folder serves them all
        if not installed.is_file() or installed.read_text() != lock:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, home)
            npm, programs = find_npm()
            command = [*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
            path = f"{programs}{os.pathsep}{os.environ['PATH']}"
            subprocess.run(command, cwd=home, env={**os.environ, "PATH": path}, check=True)
            installed.write_text(lock)
    return home / "node_modules"


def run(sample: Sample, *, values: Values, key: str, folder: Path, management_key: str = "") -> str:
    """What the sample printed, run in `folder`; without a management key, those that read one fail.

    Raises SampleError when it fails, takes over a minute, or prints anything but what it should.
    """
    file = folder / FILE_NAMES[sample.fence.language]
    file.write_text(values.fill(sample.fence.code) + "\n", encoding="utf-8")
    path = os.environ["PATH"]
    if sample.fence.language == "javascript":
        if not (folder / "node_modules").exists():
            (folder / "node_modules").symlink_to(node_modules(), target_is_directory=True)
        path = f"{find_npm()[1]}{os.pathsep}{path}"
    program = {"bash": ["bash", "-e"], "python": [sys.executable], "javascript": ["node"]}[sample.fence.language]
    try:
        done = subprocess.run(
            [*program, file.name],
            cwd=folder,
            env={
                "PATH": path,
                "HOME": str(folder),
                "LANG": "C.UTF-8",
                "LYCEUM_API_KEY": key,
                "LYCEUM_ADMIN_KEY": management_key,
            },
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SampleError(f"{sample} was not done after {SECONDS} s.") from error
    expected = re.escape(values.chat_model).join(sample.fence.attributes["expect"].split("{{ chat_model }}"))
    if done.returncode or not re.search(expected, done.stdout):
        raise SampleError(f"{sample} ended with {done.returncode}; {expected!r} expected.\n{done.stdout}{done.stderr}")
    return done.stdout


def main(portal_url: str, key: str, management_key: str, chat_model: str = "", embedding_model: str = "") -> int:
    """Run everything against `portal_url` and say how it went; the exit status."""
    if not chat_model:
        asked = urllib.request.Request(f"{portal_url}/v1/models", headers={"Authorization": f"Bearer {key}"})  # noqa: S310
        with urllib.request.urlopen(asked) as answer:  # noqa: S310
            chat_model = json.load(answer)["data"][0]["id"]
    values = Values(portal_url, chat_model, embedding_model or chat_model, has_models=True)
    folder = var_dir() / "samples" / "run"
    folder.mkdir(parents=True, exist_ok=True)
    failures = 0
    for sample in every_sample():
        try:
            run(sample, values=values, key=key, folder=folder, management_key=management_key)
        except SampleError as error:
            failures += 1
            print(f"FAILED  {error}")  # noqa: T201
        else:
            print(f"ok      {sample}")  # noqa: T201
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

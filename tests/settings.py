"""The portal's settings over stores that nobody else uses: tests empty their Redis, and must never empty a portal's."""

import os
from urllib.parse import urlsplit, urlunsplit

SECRETS = {
    "SECRET_KEY": "a-secret-key-of-the-tests-that-protects-nothing-at-all",
    "FIELD_ENCRYPTION_KEYS": "YS1rZXktb2YtdGhlLXRlc3RzLWd1YXJkcy1ub3RoLi4=",
    "KEY_PEPPERS": "1:a-pepper-of-the-tests-that-protects-nothing",
}


def with_database(url: str, number: int) -> str:
    """The address of another database of the same Redis."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{number}"))


def worker_number() -> int:
    """0 when tests run in one process, else the number of this process among them, from 1."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw")) + 1


def choose_stores() -> None:
    """Give this process a pair of Redis databases of its own, never number 0, and a state folder.

    PostgreSQL's database is pytest-django's care.
    """
    from portal import env  # after the secrets below are in place

    durable = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")
    volatile = env.text("REDIS_VOLATILE_URL", durable)
    pair = 2 * worker_number() + 1
    os.environ["REDIS_URL"] = with_database(durable, pair)
    os.environ["REDIS_VOLATILE_URL"] = with_database(volatile, pair + 1)
    folder = env.var_dir() / f"tests-{worker_number()}"
    # A process that a test starts has its parent's.
    if env.var_dir().name != folder.name:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ["LYCEUM_VAR"] = str(folder)


os.environ.update(SECRETS)
choose_stores()

from portal.settings import *  # noqa: E402, F403
from portal.settings import DATABASES, LOGGING, VAR_DIR  # noqa: E402

# What one transaction holds for many tests is idle while some of them ask by other connections.
DATABASES["default"]["OPTIONS"]["options"] = "-c statement_timeout=60000"

# What the portal logs, as it would write it, to be looked through when all tests have run.
LOGGING["handlers"]["file"] = {
    "class": "logging.FileHandler",
    "filename": VAR_DIR / "tests.log",
    "formatter": "structured",
}
LOGGING["root"]["handlers"].append("file")

# Threads of a test hold a connection each, beside those that the gateway has in the same process.
DATABASES["default"]["OPTIONS"]["pool"]["max_size"] = 20

# A busy machine takes longer to connect than a server may before another is asked.
GATEWAY_CONNECT_TIMEOUT_SECONDS = 30

# Every client of a test builds the middleware anew, and WhiteNoise would read all files of the portal each time, which
# is a fifth of what a test of a page costs. This way it looks for a file when one is asked for.
WHITENOISE_AUTOREFRESH = True

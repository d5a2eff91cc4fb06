"""The Lua scripts in `usage/lua/`, each one atomic step on the keys of one organization."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import NoScriptError

FOLDER = Path(__file__).parent / "lua"


class Script:
    """One script, called by its hash."""

    def __init__(self, name: str) -> None:
        self.text = (FOLDER / f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: "redis.Redis", *, keys: Sequence[str], args: Sequence[str]) -> Any:
        """Run on a synchronous client; loads the script where the server does not have it."""
        try:
            return client.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return client.eval(self.text, len(keys), *keys, *args)


ADMIT = Script("admit")
SETTLE = Script("settle")
HEARTBEAT = Script("heartbeat")
SEED_BEGIN = Script("seed_begin")
SEED_END = Script("seed_end")
CORRECT = Script("correct")
REMEMBER_POLICY = Script("remember_policy")

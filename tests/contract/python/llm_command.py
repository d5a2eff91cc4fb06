"""The `llm` command, each cell a process as a person would start it. It cannot be told not to retry."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.contract.python.cells import (
    ANSWER,
    ANSWER_TOKENS,
    CITY,
    DEGREES,
    KEY,
    POOR_KEY,
    PROMPT_TOKENS,
    QUESTION,
    URL,
    WRONG_KEY,
    cell,
    run,
    tries,
)

MODELS = (
    *("fake-chat", "lab/slashed", "tool-chat", "json-chat", "busy-chat", "overloaded-chat", "paid-chat", "nobody"),
    *("crowded-chat", "full-chat", "patient-chat", "breaks-chat", "dies-chat"),
)
MESSAGE = "the message"
WEATHER = 'def weather(city: str) -> str:\n    "The weather in a city."\n    return "21"'


def llm(model: str, *options: str, key: str = KEY) -> "subprocess.CompletedProcess[str]":
    # Each has a home of its own, with the models in it as the manual says: commands that start at once would all make
    # the tables of one log.
    home = Path(tempfile.mkdtemp(dir=Path.home()))
    settings = {"api_base": URL, "api_key_name": "lyceum", "supports_tools": True, "supports_schema": True}
    known = [{"model_id": f"our/{name}", "model_name": name, **settings} for name in MODELS]
    # JSON is YAML as well.
    (home / "extra-openai-models.yaml").write_text(json.dumps(known))
    return subprocess.run(
        [sys.executable, "-m", "llm", "-m", f"our/{model}", QUESTION, "--key", key, *options],
        env={**os.environ, "LLM_USER_PATH": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def said(model: str, *options: str) -> str:
    done = llm(model, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(model: str, *options: str, key: str = KEY) -> str:
    done = llm(model, *options, key=key)
    assert done.returncode == 1, done.stdout
    return done.stderr


@cell
def chat() -> None:
    assert said("fake-chat", "--no-stream").strip() == ANSWER.strip()


@cell
def stream() -> None:
    assert said("fake-chat").strip() == ANSWER.strip()


@cell
def stream_usage() -> None:
    done = llm("fake-chat", "--usage")
    assert f"Token usage: {PROMPT_TOKENS} input, {ANSWER_TOKENS} output" in done.stderr, done.stderr


@cell
def tools() -> None:
    done = llm("tool-chat", "--functions", WEATHER, "--td", "--no-stream")
    assert f"'city': '{CITY}'" in done.stderr, done.stderr
    assert done.stdout.strip() == ANSWER.strip()


@cell
def tools_stream() -> None:
    done = llm("tool-chat", "--functions", WEATHER, "--td")
    assert f"'city': '{CITY}'" in done.stderr, done.stderr
    assert done.stdout.strip() == ANSWER.strip()


@cell
def structured() -> None:
    answer = said("json-chat", "--schema", "city, degrees int")
    assert json.loads(answer) == {"city": CITY, "degrees": DEGREES}


@cell
def slashed_model() -> None:
    assert said("lab/slashed").strip() == ANSWER.strip()


@cell
def wrong_key() -> str:
    assert "Incorrect API key provided" in refused("fake-chat", key=WRONG_KEY)
    return MESSAGE


@cell
def unknown_model() -> str:
    assert "The model `nobody` does not exist or you do not have access to it" in refused("nobody")
    return MESSAGE


@cell
def bad_request() -> str:
    assert "'max_tokens'" in refused("fake-chat", "-o", "max_tokens", "0")
    return MESSAGE


@cell
def rate_limit() -> str:
    assert "The model's server is busy" in refused("crowded-chat")
    return MESSAGE


@cell
def overloaded() -> str:
    assert "The model's server is overloaded" in refused("full-chat")
    return MESSAGE


@cell
def retries_rate_limit() -> str:
    assert "The model's server is busy" in refused("busy-chat")
    return tries("busy-chat", waits=1)


@cell
def retries_overloaded() -> str:
    assert "The model's server is overloaded" in refused("overloaded-chat")
    return tries("overloaded-chat", waits=1)


@cell
def retries_long_wait() -> str:
    assert "The model's server is busy" in refused("patient-chat")
    return tries("patient-chat")


@cell
def spent_budget() -> str:
    assert "The monthly budget of this key" in refused("paid-chat", key=POOR_KEY)
    return tries("paid-chat", key=POOR_KEY)


@cell
def broken_stream() -> str:
    for model in ("breaks-chat", "dies-chat"):
        assert "The model's server" in refused(model)
    return MESSAGE


if __name__ == "__main__":
    run("llm", package="llm")

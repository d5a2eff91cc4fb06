"""What the clients of Python share: where the gateway is, which models behave how, and how a cell of the table is made.

A client is a program of its own that runs in the environment of that client. Each function under `@cell` is one cell of
the table in docs/compatibility.md, by its name: it passes, or raises. What it returns stands in the cell.
"""

import asyncio
import base64
import importlib.metadata
import json
import os
import sys
import traceback
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

URL = os.environ["CONTRACT_URL"]
KEY = os.environ["CONTRACT_KEY"]
"""A key without limits."""
LIMITED_KEY = os.environ["CONTRACT_LIMITED_KEY"]
"""A key that may make one request a minute."""
POOR_KEY = os.environ["CONTRACT_POOR_KEY"]
"""A key whose budget does not cover a call of `paid-chat`."""
WRONG_KEY = "sk-nobody-made-this-one"

QUESTION = "one two three"
ANSWER = "word " * 8
PROMPT_TOKENS, ANSWER_TOKENS = 3, 8
CITY = "Paris"
"""What `tool-chat` calls the tool `weather` with, and what is in the JSON of `json-chat` beside the degrees."""
DEGREES = 21
VECTOR = [1.0, 2.0]
PICTURE = base64.b64decode("iVBORw0KGgo=")
"""What every call for a picture is answered."""
MODELS = {"fake-chat", "fake-embed", "lab/slashed"}

BATCH = "".join(
    json.dumps(
        {
            "custom_id": f"row-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "fake-chat", "messages": [{"role": "user", "content": QUESTION}]},
        }
    )
    + "\n"
    for number in range(3)
).encode()
"""The file of a batch."""
BATCH_SECONDS = 60

Error = TypeVar("Error", bound=Exception)
Cell = Callable[[], str | Coroutine[Any, Any, str | None] | None]
_cells: dict[str, Cell] = {}


def cell(function: Cell) -> Cell:
    """Make a function a cell of the table."""
    _cells[function.__name__] = function
    return function


def raised(kind: type[Error], call: Callable[[], object]) -> Error:
    """The error of that class which the call raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"It should have raised {kind.__name__}.")


async def raised_by(kind: type[Error], work: Awaitable[object]) -> Error:
    """The error of that class which the work raises."""
    try:
        await work
    except kind as error:
        return error
    raise AssertionError(f"It should have raised {kind.__name__}.")


def answers_in(output: bytes) -> dict[str, str]:
    """What each line of a batch was answered, by its id."""
    lines = [json.loads(line) for line in output.splitlines()]
    return {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in lines}


def tries(model: str, *, key: str = KEY, waits: float = 0.0) -> str:
    """How often the gateway was asked for `model` with `key`, in words; fails if less than `waits` seconds apart."""
    query = urllib.parse.urlencode({"model": model, "key": key})
    with urllib.request.urlopen(f"{URL.removesuffix('/v1')}/arrivals?{query}") as answer:  # noqa: S310
        arrivals: list[float] = json.load(answer)
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert all(gap >= waits for gap in gaps), gaps
    return "1 try" if len(arrivals) == 1 else f"{len(arrivals)} tries"


def run(client: str, package: str) -> None:
    """Fill the cells, side by side as most of them wait, and print what came of it."""
    with ThreadPoolExecutor(8) as threads:
        outcomes = dict(zip(_cells, threads.map(_outcome, _cells.values()), strict=True))
    report = {
        "client": client,
        "package": f"{package} {importlib.metadata.version(package)}",
        "cells": {name: outcome for name, (outcome, _failure) in outcomes.items()},
        "failures": {name: failure for name, (_outcome, failure) in outcomes.items() if failure},
    }
    json.dump(report, sys.stdout)


def _outcome(function: Cell) -> tuple[str, str]:
    """What stands in the cell, and the trace of a failure."""
    try:
        said = function()
        if isinstance(said, Coroutine):
            said = asyncio.run(said)
    except Exception:
        return "fails", traceback.format_exc()
    return said or "yes", ""

"""Code that makes a request again says exactly that request, whatever is in it."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from playground.snippets import curl, javascript, python

BASE_URL = "http://localhost:8000/v1"
AWKWARD = "It's \"quoted\" \\ $HOME `whoami` ${x} </script>\n\ttab, 中文 😀 \u2028 '''"
BODY: dict[str, Any] = {
    "model": "qwen3-32b",
    "messages": [{"role": "system", "content": AWKWARD}, {"role": "user", "content": "x" * 300 + AWKWARD}],
    "temperature": 0.7,
    "stop": ["\n\n", "'"],
    "stream": True,
}


def node() -> str:
    """The Node that builds the front end, or the system's."""
    return shutil.which("node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "node"


def test_curl_sends_the_body(tmp_path: Path) -> None:
    said = tmp_path / "said.json"
    fake = tmp_path / "curl"
    fake.write_text(f"#!{sys.executable}\nimport json, sys\njson.dump(sys.argv[1:], open({str(said)!r}, 'w'))\n")
    fake.chmod(0o755)

    subprocess.run(
        ["bash", "-c", curl(BODY, base_url=BASE_URL)],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "LYCEUM_API_KEY": "lyc_secret"},
        check=True,
    )

    arguments = json.loads(said.read_text())
    assert arguments[:3] == ["-N", f"{BASE_URL}/chat/completions", "-H"]
    assert "Authorization: Bearer lyc_secret" in arguments
    assert json.loads(arguments[arguments.index("-d") + 1]) == BODY


def test_python_calls_with_the_body() -> None:
    tree = ast.parse(python(BODY, base_url=BASE_URL))

    call = next(
        found
        for found in ast.walk(tree)
        if isinstance(found, ast.Call) and isinstance(found.func, ast.Attribute) and found.func.attr == "create"
    )
    assert {argument.arg: ast.literal_eval(argument.value) for argument in call.keywords} == BODY


def test_javascript_calls_with_the_body(tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "openai"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "openai", "type": "module", "main": "index.js"}')
    (package / "index.js").write_text(
        "export default class { chat = { completions: { create: async function* (body) {"
        " yield { choices: [{ delta: { content: JSON.stringify(body) } }] } } } } }"
    )
    script = tmp_path / "sample.mjs"
    script.write_text(javascript(BODY, base_url=BASE_URL))

    said = subprocess.run([node(), str(script)], capture_output=True, text=True, check=True)

    assert json.loads(said.stdout) == BODY


@pytest.mark.parametrize("make", [curl, python, javascript])
def test_no_sample_holds_a_key(make: Any) -> None:
    assert "LYCEUM_API_KEY" in make(BODY, base_url=BASE_URL)

"""The request of a run as code that makes it again: made with real encoders, so that it runs whatever it holds."""

import json
import pprint
import shlex
from dataclasses import dataclass
from typing import Any

KEY_VARIABLE = "LYCEUM_API_KEY"


@dataclass(frozen=True, slots=True)
class Snippet:
    label: str
    value: str
    text: str


def snippets(body: dict[str, Any], *, base_url: str) -> list[Snippet]:
    """`body` as a call in curl, Python and JavaScript. `base_url` ends in `/v1`."""
    return [
        Snippet(label="curl", value="curl", text=curl(body, base_url=base_url)),
        Snippet(label="Python", value="python", text=python(body, base_url=base_url)),
        Snippet(label="JavaScript", value="javascript", text=javascript(body, base_url=base_url)),
    ]


def curl(body: dict[str, Any], *, base_url: str) -> str:
    data = json.dumps(body, ensure_ascii=False, indent=2)
    return (
        f"curl -N {shlex.quote(base_url + '/chat/completions')} \\\n"
        f'  -H "Authorization: Bearer ${KEY_VARIABLE}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(data)}\n"
    )


def python(body: dict[str, Any], *, base_url: str) -> str:
    arguments = "".join(f"    {name}={_python_literal(value)},\n" for name, value in body.items())
    return (
        "import os\n\n"
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url={base_url!r}, api_key=os.environ["{KEY_VARIABLE}"])\n'
        f"stream = client.chat.completions.create(\n{arguments})\n"
        "for chunk in stream:\n"
        "    if chunk.choices and chunk.choices[0].delta.content:\n"
        '        print(chunk.choices[0].delta.content, end="", flush=True)\n'
    )


def javascript(body: dict[str, Any], *, base_url: str) -> str:
    # JSON is JavaScript, every string included, since ECMAScript 2019.
    request = json.dumps(body, ensure_ascii=False, indent=2)
    return (
        'import OpenAI from "openai";\n\n'
        f"const client = new OpenAI({{ baseURL: {json.dumps(base_url)}, apiKey: process.env.{KEY_VARIABLE} }});\n"
        f"const stream = await client.chat.completions.create({request});\n"
        "for await (const chunk of stream) {\n"
        '  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");\n'
        "}\n"
    )


def _python_literal(value: Any) -> str:
    return pprint.pformat(value, indent=1, width=100, sort_dicts=False).replace("\n", "\n    ")

"""Samples: the fenced blocks of a tutorial, and the values that make them true for this portal.

Fences that stand one below the other, each in a language of `TAB_LABELS`, are one sample written several ways; a page
shows them as tabs. The info line of a fence may carry attributes that only the renderer and the tests read:

    ```bash tab="Python" run="no"

`tab` names the tab; `playground="no"` leaves out the link to the playground; `run="no"` marks what the tests do not
execute (an installation, say); `expect` is a regular expression that the output of all others must contain.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

TAB_LABELS = {"bash": "curl", "python": "Python", "javascript": "JavaScript"}
FENCE = re.compile(r"^```(?P<language>\w+)(?P<attributes>[^\n]*)\n(?P<code>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
ATTRIBUTE = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
JSON_ARGUMENT = re.compile(r"(?:-d|--data|--json)\s+'(?P<body>\{.*?\})'", re.DOTALL)


@dataclass(frozen=True)
class Values:
    """What the placeholders of a tutorial stand for here and now."""

    portal_url: str
    chat_model: str
    embedding_model: str
    has_models: bool

    @property
    def base_url(self) -> str:
        return f"{self.portal_url}/v1"

    def fill(self, text: str) -> str:
        """`text` with `{{ base_url }}`, `{{ portal_url }}`, `{{ chat_model }}` and `{{ embedding_model }}` replaced."""
        for name in ("base_url", "portal_url", "chat_model", "embedding_model"):
            text = text.replace(f"{{{{ {name} }}}}", getattr(self, name))
        return text


@dataclass(frozen=True)
class Fence:
    """One fenced block."""

    language: str
    code: str
    attributes: dict[str, str]

    @property
    def is_sample(self) -> bool:
        """Whether the block is code a reader runs, rather than output or data."""
        return self.language in TAB_LABELS

    @property
    def is_runnable(self) -> bool:
        return self.is_sample and self.attributes.get("run") != "no"

    @property
    def label(self) -> str:
        return self.attributes.get("tab") or TAB_LABELS.get(self.language, self.language.upper())


def fences(text: str) -> Iterator[Fence]:
    """The fenced blocks of `text`, in order."""
    return (_fence(match) for match in FENCE.finditer(text))


def grouped(text: str) -> Iterator[str | list[Fence]]:
    """`text` cut into prose and blocks, in order; the ways to write one sample come together as one list."""
    group: list[Fence] = []
    end = 0
    for match in FENCE.finditer(text):
        prose, fence = text[end : match.start()], _fence(match)
        end = match.end()
        if group and (prose.strip() or not (fence.is_sample and group[-1].is_sample)):
            yield group
            group = []
        if prose.strip():
            yield prose
        group.append(fence)
    if group:
        yield group
    if text[end:].strip():
        yield text[end:]


def playground_query(group: list[Fence]) -> str:
    """The query string that opens this sample in the playground; empty when it is not a chat.

    It is read off the body that the curl sample really sends, so that the two cannot differ.
    """
    for fence in group:
        if "/chat/completions" not in fence.code or fence.attributes.get("playground") == "no":
            continue
        if fence.language == "bash" and (found := JSON_ARGUMENT.search(fence.code)):
            body = json.loads(found["body"])
            said = {message["role"]: message["content"] for message in body["messages"]}
            query = {"model": body["model"], "prompt": said.get("user", ""), "system": said.get("system", "")}
            return urlencode({name: value for name, value in query.items() if value})
    return ""


def _fence(match: "re.Match[str]") -> Fence:
    attributes = {name: value.replace('\\"', '"') for name, value in ATTRIBUTE.findall(match["attributes"])}
    return Fence(language=match["language"], code=match["code"].rstrip("\n"), attributes=attributes)

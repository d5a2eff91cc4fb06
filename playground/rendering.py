"""A model's text as HTML, by the road that all user text takes, with one difference: its raw HTML stays readable.

A post's author learns in the preview that tags are dropped; a model does not. `<think>` or `<div>` in an answer is
shown as the characters it is, as it was while the answer streamed.
"""

import re

from django.utils.safestring import SafeString, mark_safe

from common import markdown

# A character nobody writes stands for `<` on the way through the parser.
_STAND_IN = "\ue000"
_TAG_START = re.compile(r"<(?!https?://|mailto:)")
_HEADING = re.compile(r"<h([3-6])>(.*?)</h\1>", re.DOTALL)
# The page's own headings go down to who is speaking.
_PAGE_LEVEL = 2
_FENCE = re.compile(r"\s*(?:(?:[-*+]|\d+[.)])\s+)?(`{3,}|~{3,})")


def render_answer(text: str) -> SafeString | None:
    """Safe HTML of an answer; None for one too long to be rendered, which is shown as it is."""
    if len(text) > markdown.MAX_CHARACTERS:
        return None
    rendered = _without_gaps(markdown.render(_without_tags(text.replace(_STAND_IN, ""))))
    return mark_safe(rendered.replace(_STAND_IN, "&lt;"))  # noqa: S308  (sanitized by render; this adds text only)


def _without_gaps(rendered: str) -> str:
    """The headings as an outline that skips no level: models like to begin with the third."""
    above: list[str] = []

    def renumbered(match: re.Match[str]) -> str:
        level = match[1]
        while above and above[-1] >= level:
            above.pop()
        above.append(level)
        shown = min(_PAGE_LEVEL + len(above), 6)
        return f"<h{shown}>{match[2]}</h{shown}>"

    return _HEADING.sub(renumbered, rendered)


def _without_tags(text: str) -> str:
    # Inside a fence the parser keeps every character, and the highlighter should see the real ones.
    lines = []
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if not fence:
            if found:
                fence = found[1]
            lines.append(_TAG_START.sub(_STAND_IN, line))
        else:
            if found and found[1].startswith(fence) and not line[found.end() :].strip():
                fence = ""
            lines.append(line)
    return "\n".join(lines)

"""A model's text as HTML, by the road that all user text takes; only its headings are put in order."""

import re

from django.utils.safestring import SafeString, mark_safe

from common import markdown

_HEADING = re.compile(r"<h([3-6])>(.*?)</h\1>", re.DOTALL)
# The page's own headings go down to who is speaking.
_PAGE_LEVEL = 2


def render_answer(text: str) -> SafeString | None:
    """Safe HTML of an answer; None for one too long to be rendered, which is shown as it is."""
    if len(text) > markdown.MAX_CHARACTERS:
        return None
    return mark_safe(_without_gaps(markdown.render(text)))  # noqa: S308  (sanitized by render)


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

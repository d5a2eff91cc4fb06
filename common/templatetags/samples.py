"""Code samples that templates write, in the colors of those that Markdown renders."""

import html
from functools import lru_cache

from django import template
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

register = template.Library()
_formatter = HtmlFormatter(nowrap=True)


@register.filter
def colored(code: str, language: str) -> SafeString:
    """The code with its tokens marked for the style sheet. What a template has escaped already is not escaped twice."""
    return _colored(html.unescape(code) if isinstance(code, SafeString) else code, language)


@lru_cache(maxsize=256)
def _colored(code: str, language: str) -> SafeString:
    lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    marked = highlight(code, lexer, _formatter)
    # The formatter ends the last line too, which a sample in a template does not.
    return mark_safe(marked if code.endswith("\n") else marked.removesuffix("\n"))  # noqa: S308 - every token is escaped

"""User-written Markdown to safe HTML. One path: preview, page, feed and mail all show what `render` gave.

Raw HTML is shown as the characters it is: `List<String>` and `<think>` are what people write here, and what vanishes
cannot be missed by who reads. The parser would drop it, so something else stands for its `<` on the way through.

Two independent layers, so that a hole in one is not a hole in the page: a C parser that drops raw HTML and dangerous
links (and that a hostile post cannot hang), then an allow-list sanitizer. Between them code is colored and images
become links: an image on another host would tell that host who reads which page.
"""

import html
import re
import time
from urllib.parse import quote

import nh3
from cmarkgfm import cmark
from pygments import format as format_tokens
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

MAX_CHARACTERS = 32_000
RENDERER_VERSION = 2
"""Stored beside the HTML it made; raise it when the output changes, so that `manage.py render_posts` makes it again."""

# What the parser makes of 32,000 characters can be far larger or deeper than what it read: a table of empty cells, or a
# quote in a quote in a quote, which takes the sanitizer seconds. Nobody writes either by hand.
_MAX_HTML_CHARACTERS = 600_000
_MAX_DEPTH = 40
# Pygments' lexers are regular expressions written for honest code: 12,000 empty lines called Java take one of
# them seconds. So only well-known languages, a bounded amount, no endless line, and an end between two tokens.
_MAX_HIGHLIGHTED_CHARACTERS = 12_000
_MAX_HIGHLIGHTED_LINE = 1_000
_HIGHLIGHTING_SECONDS = 0.2
# fmt: off
_LANGUAGES = {
    "bash", "c", "console", "cpp", "csharp", "css", "diff", "docker", "dockerfile", "go", "graphql", "html", "http",
    "ini", "java", "javascript", "js", "json", "jsonc", "kotlin", "makefile", "nginx", "php", "powershell", "py",
    "python", "python3", "rb", "rs", "ruby", "rust", "sh", "shell", "sql", "swift", "toml", "ts", "tsx", "typescript",
    "xml", "yaml", "yml",
}

_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "span",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}
# fmt: on
_ATTRIBUTES = {
    "a": {"href", "title"},
    "code": {"class"},
    "ol": {"start"},
    "pre": {"class", "tabindex"},
    "span": {"class"},
    "td": {"align"},
    "th": {"align"},
}
_CLASSES = {
    "code": re.compile(r"language-[a-z0-9+#-]{1,20}"),
    "pre": re.compile(r"highlight"),
    "span": re.compile(r"[a-z][a-z0-9]{0,2}"),  # the names Pygments gives to kinds of token
}
# A post sits under the page's h1 and a section's h2, so its own headings begin below them.
_HEADINGS = {"1": "3", "2": "4", "3": "5", "4": "6", "5": "6", "6": "6"}

_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)[^>]*?(/?)>")
_HEADING = re.compile(r"<(/?)h([1-6])>")
_IMAGE = re.compile(r'<img src="([^"]*)" alt="([^"]*)"(?: title="[^"]*")? />')
_CODE = re.compile(r'<pre><code(?: class="language-([^"]*)")?>(.*?)</code></pre>', re.DOTALL)
_BREAKS = re.compile(r"</(?:p|li|tr|h[1-6]|pre|blockquote)>|<br>|<hr>")
_ANY_TAG = re.compile(r"<[^>]+>")

# What may stand for `<`: punctuation, as it is, so that emphasis beside it is read the same; of a script nobody writes.
_STAND_INS = [chr(code) for code in range(0x10A50, 0x10A59)]
# Of the angle brackets that Markdown knows only addresses are left to the parser.
_LESS_THAN = re.compile(r"(?<!\\)(\\*)<(?!https?://|mailto:|[\w.+-]{1,64}@[a-z0-9-])", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://|ftp://|www\.", re.IGNORECASE)
_IN_CODE = re.compile(r"<code[^>]*>[^<]*</code>")
_HREF = re.compile(r'(?:href|src)="[^"]*"')
_LINK = re.compile(r'<a href="([^"]*)">([^<]*)</a>')

_formatter = HtmlFormatter(nowrap=True)


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "class":
        return value if _CLASSES[tag].fullmatch(value) else None
    if name == "tabindex":
        return "0"
    return value


def _within_the_portal(address: str) -> str | None:
    """Of addresses without a scheme only those from the root mean the same on every page and in the feed."""
    return address if address.startswith("/") and not address.startswith("//") else None


_cleaner = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    attribute_filter=_attribute,
    link_rel="nofollow ugc noopener noreferrer",
    url_schemes={"http", "https", "mailto"},
    url_relative=_within_the_portal,
    # No id is allowed at all; should one ever be, it must not be able to name something of the page's own.
    id_prefix="u-",
)


def render(text: str) -> str:
    """Safe HTML for what a user wrote. Never raises: what cannot be rendered stands as plain text.

    Text beyond MAX_CHARACTERS is cut; forms refuse it before it comes here.
    """
    text = text.replace("\x00", "")[:MAX_CHARACTERS]
    free = [one for one in _STAND_INS if one not in text and quote(one) not in text]
    if len(free) < 2:
        return _as_it_is(text)
    bare, escaped = free[:2]
    parsed = cmark.markdown_to_html_with_extensions(
        _stand_in(text, bare, escaped), 0, ["table", "autolink", "strikethrough"]
    )
    if len(parsed) > _MAX_HTML_CHARACTERS or _depth(parsed) > _MAX_DEPTH:
        return _as_it_is(text)
    parsed = _LINK.sub(lambda match: _ended_before(match, bare, escaped), parsed)
    parsed = _HREF.sub(lambda match: match[0].replace(quote(bare), "%3C").replace(quote(escaped), "%3C"), parsed)
    parsed = _HEADING.sub(lambda match: f"<{match[1]}h{_HEADINGS[match[2]]}>", parsed)
    parsed = _IMAGE.sub(_link_to_image, parsed)
    parsed = _IN_CODE.sub(lambda match: match[0].replace(bare, "&lt;").replace(escaped, "\\&lt;"), parsed)
    cleaned = _cleaner.clean(_color_code(parsed))
    # After the sanitizer: nothing that it has not seen can have become a tag.
    return cleaned.replace(bare, "&lt;").replace(escaped, "&lt;")


def _as_it_is(text: str) -> str:
    return f'<pre tabindex="0">{html.escape(text)}</pre>'


def _stand_in(text: str, bare: str, escaped: str) -> str:
    """The text with `bare` for each `<` and `escaped` for each `\\<`, whose backslash means itself inside code only."""

    def replaced(match: re.Match[str]) -> str:
        backslashes = match[1]
        return backslashes[:-1] + escaped if len(backslashes) % 2 else backslashes + bare

    return _LESS_THAN.sub(replaced, text)


def _ended_before(match: re.Match[str], *stand_ins: str) -> str:
    """The link; one that the parser found in running text ends before a `<`."""
    address, shown = match[1], match[2]
    ends = [shown.index(one) for one in stand_ins if one in shown]
    address_ends = [address.index(quote(one)) for one in stand_ins if quote(one) in address]
    if not ends or not address_ends or not _ADDRESS.match(shown):
        return match[0]
    return f'<a href="{address[: min(address_ends)]}">{shown[: min(ends)]}</a>{shown[min(ends) :]}'


def plain_text(rendered: str) -> str:
    """The words of HTML that `render` made, for the search index and excerpts."""
    return html.unescape(_ANY_TAG.sub("", _BREAKS.sub(" ", rendered))).strip()


def _depth(parsed: str) -> int:
    depth = deepest = 0
    for closing, name, void in _TAG.findall(parsed):
        if closing:
            depth -= 1
        elif not void and name not in {"br", "hr", "img"}:
            depth += 1
            deepest = max(deepest, depth)
    return deepest


def _link_to_image(match: re.Match[str]) -> str:
    address, description = match[1], match[2]
    return f'<a href="{address}">{description or address}</a>'


def _color_code(parsed: str) -> str:
    left = _MAX_HIGHLIGHTED_CHARACTERS
    until = time.thread_time() + _HIGHLIGHTING_SECONDS

    def color(match: re.Match[str]) -> str:
        nonlocal left
        language = (match[1] or "").lower()
        colored = match[2]
        if language in _LANGUAGES and len(colored) <= left:
            left -= len(colored)
            colored = _colored(html.unescape(colored), language, until) or colored
        named = f' class="language-{language}"' if language else ""
        # Focusable, so that a line too long for the page can be scrolled by keyboard.
        return f'<pre class="highlight" tabindex="0"><code{named}>{colored}</code></pre>'

    return _CODE.sub(color, parsed)


def _colored(code: str, language: str, until: float) -> str | None:
    """The code with its tokens marked; None when Pygments does not know the language or takes too long over it."""
    if max(map(len, code.split("\n"))) > _MAX_HIGHLIGHTED_LINE:
        return None
    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return None
    tokens = []
    for token in lexer.get_tokens(code):
        if time.thread_time() > until:
            return None
        tokens.append(token)
    return format_tokens(tokens, _formatter)

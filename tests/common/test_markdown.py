"""User-written Markdown: what it becomes, and that it can neither run in a reader's browser nor hang the server."""

import re
import time
from html.parser import HTMLParser

import pytest

from common.markdown import MAX_CHARACTERS, plain_text, render


def test_it_works() -> None:
    html = render(
        "Use **`max_tokens`**:\n\n```python\nclient = OpenAI()\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n~~no~~"
    )
    assert "<strong><code>max_tokens</code></strong>" in html
    assert '<pre class="highlight" tabindex="0"><code class="language-python">' in html
    assert '<span class="n">OpenAI</span>' in html
    assert '<td align="right">2</td>' in html
    assert "<del>no</del>" in html


def test_headings_begin_below_those_of_the_page() -> None:
    assert render("# One\n\n## Two\n\n###### Six") == "<h3>One</h3>\n<h4>Two</h4>\n<h6>Six</h6>\n"


def test_links_lend_no_weight_and_open_nothing() -> None:
    assert render("www.example.com") == (
        '<p><a href="http://www.example.com" rel="nofollow ugc noopener noreferrer">www.example.com</a></p>\n'
    )


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("![a chart](https://evil.example/x.png)", '<a href="https://evil.example/x.png"'),
        ("![](https://evil.example/x.png)", ">https://evil.example/x.png</a>"),
        ('![t](https://evil.example/x.png "title")', ">t</a>"),
        ("[![t](https://evil.example/x.png)](https://other.example)", "t"),
    ],
)
def test_images_become_links(source: str, shown: str) -> None:
    html = render(source)
    assert "<img" not in html
    assert shown in html


@pytest.mark.parametrize(("address", "kept"), [("/docs/", True), ("#top", False), ("//e.example", False), ("x", False)])
def test_addresses_without_a_scheme_lead_into_the_portal(address: str, kept: bool) -> None:
    assert (f'href="{address}"' in render(f"[x]({address})")) is kept


def test_code_in_an_unknown_language_stays_as_it_is() -> None:
    assert '<code class="language-brainfunk">&lt;b&gt;' in render("```brainfunk\n<b>\n```")


def test_what_is_too_long_is_cut() -> None:
    assert len(plain_text(render("a" * (MAX_CHARACTERS + 10)))) == MAX_CHARACTERS


def test_a_zero_byte_is_left_out() -> None:
    assert render("a\x00b") == "<p>ab</p>\n"


def test_plain_text_has_the_words_and_no_markup() -> None:
    assert plain_text(render("# Title\n\nuse `a < b` & *c*")) == "Title \nuse a < b & c"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("Use List<String> here", "Use List<String> here"),
        ("if a<b then c>d", "if a<b then c>d"),
        ("It said <think>Hm.</think> first", "It said <think>Hm.</think> first"),
        ("<think>\nHm.\n</think>", "<think>\nHm.\n</think>"),
        ("<div>\nIn it\n</div>\n\nAfter", "<div>\nIn it\n</div> \nAfter"),
        ("<script>f()</script> from [x](https://e.example/)", "<script>f()</script> from x"),
        ("<!-- a comment -->", "<!-- a comment -->"),
        ("`<b>` and `\\<b>` and \\<b> and \\\\<b>", "<b> and \\<b> and <b> and \\<b>"),
        ("```\n\\<b>\n```", "\\<b>"),
        ("```html\n\\<b>\n```", "\\<b>"),
        ("    <b>", "<b>"),
        ("<x@@y> <@me>", "<x@@y> <@me>"),
        ("\U00010a50 <b>", "\U00010a50 <b>"),
        ("".join(map(chr, range(0x10A50, 0x10A59))) + "<b>", "".join(map(chr, range(0x10A50, 0x10A59))) + "<b>"),
        ("| <a> | b |\n|---|---|\n| `<c>` | <d> |", "<a>\nb\n\n\n\n\n<c>\n<d>"),
    ],
)
def test_raw_html_is_shown_as_text(source: str, shown: str) -> None:
    assert plain_text(render(source)).split() == shown.split()


@pytest.mark.parametrize(
    ("source", "link"),
    [
        ("<https://e.example/a>", '<a href="https://e.example/a" REL>https://e.example/a</a>'),
        ("<Mailto:a@e.example>", '<a href="Mailto:a@e.example" REL>Mailto:a@e.example</a>'),
        ("<a@e.example>", '<a href="mailto:a@e.example" REL>a@e.example</a>'),
        ("[x](<https://e.example/a b>)", '<a href="https://e.example/a%20b" REL>x</a>'),
        ("[x](https://e.example/?a<b)", '<a href="https://e.example/?a%3Cb" REL>x</a>'),
        ("[`<b>`](https://e.example/?a<b)", '<a href="https://e.example/?a%3Cb" REL><code>&lt;b&gt;</code></a>'),
        ("[www.e.example<b](https://x.example)", '<a href="https://x.example" REL>www.e.example&lt;b</a>'),
        ('[x](https://e.example/ "<b>")', '<a href="https://e.example/" title="&lt;b&gt;" REL>x</a>'),
        ("https://e.example/a<b>c", '<a href="https://e.example/a" REL>https://e.example/a</a>&lt;b&gt;c'),
        ("www.e.example\\<b>", '<a href="http://www.e.example" REL>www.e.example</a>&lt;b&gt;'),
    ],
)
def test_addresses_beside_angle_brackets(source: str, link: str) -> None:
    assert render(source) == f"<p>{link}</p>\n".replace("REL", 'rel="nofollow ugc noopener noreferrer"')


def test_code_with_tags_keeps_its_colors() -> None:
    assert '<span class="nt">p</span>' in render("```html\n<p>Hi</p>\n```")


# What a browser would do with the result is decided by a parser, not by looking for strings.
ALLOWED_ATTRIBUTES = {"href", "title", "rel", "class", "start", "align", "tabindex"}
# fmt: off
ALLOWED_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "span",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}
# fmt: on


class Inspector(HTMLParser):
    """Fails for every tag, attribute and address that a post has no business with."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED_TAGS
        for name, value in attrs:
            assert name in ALLOWED_ATTRIBUTES
            if name == "href":
                assert re.match(r"https?:|mailto:|/[^/]", value or ""), value
            if name == "class":
                assert re.fullmatch(r"highlight|language-[a-z0-9+#-]{1,20}|[a-z][a-z0-9]{0,2}", value or ""), value

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment reached the page")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError("a declaration reached the page")


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&Tab;javascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:msgbox(1))",
    "[x](file:///etc/passwd)",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    '![x](https://e.example/"onerror="alert(1))',
    '![a" onerror="alert(1)](https://e.example/x)',
    '[x](https://e.example/"onmouseover="alert(1))',
    '[x](https://e.example "t" onmouseover=alert(1))',
    '[x](https://e.example "&quot; onmouseover=&quot;alert(1)")',
    "[x]: javascript:alert(1)\n\n[x]",
    '```"><script>alert(1)</script>\n```',
    '```html" onclick="alert(1)\nx\n```',
    "```html\n<script>alert(1)</script>\n```",
    "`<script>alert(1)</script>`",
    "<style>@import 'https://e.example'</style>",
    "<p style='background:url(https://e.example)'>x</p>",
    "<form action='https://e.example'><input name=password></form>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<a id=currentUser name=config>x</a>",
    "<base href='https://e.example/'>",
    "<meta http-equiv=refresh content='0;url=https://e.example'>",
    "<!--<img src='--><img src=x onerror=alert(1)>-->",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=alert(1)&gt;'>",
    "<xmp><p title='</xmp><script>alert(1)</script>'></xmp>",
    "<template><script>alert(1)</script></template>",
    "<object data='javascript:alert(1)'></object>",
    "<embed src='javascript:alert(1)'>",
    "<video><source onerror=alert(1)></video>",
    "<button formaction='javascript:alert(1)'>x</button>",
    "<div hx-get='/accounts/logout/' hx-trigger='load'>x</div>",
    "<div data-behavior='copy'>x</div>",
    "https://e.example/<script>alert(1)</script>",
    'https://e.example/"onmouseover="alert(1)',
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    "\u202ehttps://e.example\u202c",
    "<ſcript>alert(1)</ſcript>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_can_run(attack: str) -> None:
    for source in (attack, f"> - {attack}", f"**{attack}**", f"a [b {attack} c](https://e.example)"):
        Inspector().feed(render(source))


def bombs() -> dict[str, str]:
    """Texts that take other parsers seconds to minutes, each as long as a post may be."""
    n = MAX_CHARACTERS
    return {
        "brackets": "[" * n,
        "images": "![" * (n // 2),
        "cdata": ("<![CDATA[" * n)[:n],
        "schemes": ("://" * n)[:n],
        "quotes": ">" * n,
        "spaced quotes": "> " * (n // 2),
        "lists": "\n".join(" " * depth + "- a" for depth in range(240)),
        "emphasis": "*a " * (n // 6) + "a* " * (n // 6),
        "wide table": "|a" * 2000 + "|\n" + "|-" * 2000 + "|\n" + "|x\n" * 8000,
        "references": "[a]: " + "x" * 16000 + "\n\n" + "[a]" * 5000,
        "backticks": " ".join("`" * run for run in range(1, 250)),
        "links": ("[a](b" * n)[:n],
        "www": ("www." * n)[:n],
        "less than": "<" * n,
        "escaped less than": ("\\<" * n)[:n],
        "backslashes": "\\" * n,
        "tags": ("<b>" * n)[:n],
        "comments": ("<!--" * n)[:n],
        "address and less than": "https://e.example/" + "<" * (n - 20),
        "addresses and less than": ("www.e.example<" * n)[:n],
        "links and less than": ("[<](https://e.example/<) " * n)[:n],
        "mail": ("<a@" * n)[:n],
        "letters before mail": ("<" + "a" * 63) * (n // 64),
        "code": "```python\n" + '"' * (n - 20) + "\n```",
        "nested code": "```js\n" + "`${" * ((n - 20) // 3) + "\n```",
        "html code": "```html\n" + "<a " * ((n - 20) // 3) + "\n```",
        "many blocks": "```py\n(\n```\n" * (n // 12),
        "yaml": "```yaml\n" + "- " * ((n - 20) // 2) + "\n```",
        "bash": "```bash\n" + "$((" * ((n - 20) // 3) + "\n```",
        "sql": "```sql\n" + "/*" * ((n - 20) // 2) + "\n```",
    }


@pytest.mark.parametrize("name", bombs())
def test_no_text_takes_long(name: str) -> None:
    # The slowest takes about a tenth of a second; the bound leaves room for a busy machine.
    before = time.thread_time()
    html = render(bombs()[name])
    assert time.thread_time() - before < 1.5
    assert len(html) < 1_000_000


@pytest.mark.parametrize(
    ("language", "unit"),
    [("java", "\n"), ("java", "a "), ("cpp", "\n"), ("csharp", "a\n"), ("ts", "a."), ("makefile", "(\n"), ("rb", "(a")],
)
def test_no_code_takes_long(language: str, unit: str) -> None:
    """What each lexer is worst at, of thirty-odd patterns tried on all of them."""
    code = (unit * 12_000)[:11_900]
    before = time.thread_time()
    html = render(f"```{language}\n{code}\n```")
    assert time.thread_time() - before < 0.8
    assert f'<code class="language-{language}">' in html

"""Code samples in templates: colored, and as safe as they were."""

from django.utils.html import escape
from django.utils.safestring import mark_safe

from common.templatetags.samples import colored


def test_it_works() -> None:
    assert '<span class="kn">import</span>' in colored("import os", "python")


def test_text_is_escaped_once() -> None:
    sample = "print('<b>')"
    assert colored(sample, "python") == colored(mark_safe(escape(sample)), "python")  # noqa: S308
    assert "&lt;b&gt;" in colored(sample, "python")


def test_markup_never_gets_through() -> None:
    assert "<script>" not in colored("<script>alert(1)</script>", "bash")


def test_line_breaks_are_kept() -> None:
    assert colored("\ncurl x", "bash").startswith("\n")
    assert not colored("curl x", "bash").endswith("\n")

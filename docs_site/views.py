"""Pages of the docs. Anybody may read them, signed in or not."""

from itertools import groupby

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from docs_site import current, rendering
from docs_site import reference as api
from docs_site.tutorials import SOURCE_LANGUAGE, Tutorial, all_tutorials, tutorial

MARKDOWN = "text/markdown; charset=utf-8"


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return render(request, "docs_site/index.html", {"sections": _sections(all_tutorials(_language()))})


@require_safe
def page(request: HttpRequest, slug: str) -> HttpResponse:
    """The article, or its Markdown for a client that prefers that."""
    if request.get_preferred_type(["text/html", "text/markdown"]) == "text/markdown":
        return twin(request, slug)
    shown = _tutorial_or_404(slug)
    pages = all_tutorials(_language())
    place = pages.index(shown)
    values = current.values()
    source = tutorial(slug, SOURCE_LANGUAGE)
    response = render(
        request,
        "docs_site/page.html",
        {
            "tutorial": shown,
            "article": rendering.article(shown, values),
            "values": values,
            "sections": _sections(pages),
            "previous": pages[place - 1] if place else None,
            "next": pages[place + 1] if place + 1 < len(pages) else None,
            "is_untranslated": shown.language != _language(),
            "source_updated": source.updated if source and source.updated > shown.updated else None,
        },
    )
    patch_vary_headers(response, ["Accept"])
    return response


@require_safe
def twin(request: HttpRequest, slug: str) -> HttpResponse:
    """The page as Markdown, for programs and for people who paste it into one."""
    text = rendering.plain(_tutorial_or_404(slug), current.values())
    response = HttpResponse(text, content_type=MARKDOWN)
    patch_vary_headers(response, ["Accept"])
    return response


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    """Every operation of the REST API, a line each."""
    return render(request, "docs_site/reference.html", {"sections": api.sections()})


@require_safe
def reference_section(request: HttpRequest, slug: str) -> HttpResponse:
    """The operations on one thing, whole."""
    found = api.section(slug)
    if found is None:
        raise Http404(_("There is no such page in the docs."))
    return render(request, "docs_site/reference_section.html", {"section": found, "sections": api.sections()})


@require_safe
def llms(request: HttpRequest) -> HttpResponse:
    """What this portal is and where its pages are, for programs (llmstxt.org)."""
    context = {"values": current.values(), "sections": _sections(all_tutorials(SOURCE_LANGUAGE))}
    return render(request, "docs_site/llms.txt", context, content_type="text/plain; charset=utf-8")


def _language() -> str:
    return get_language() or SOURCE_LANGUAGE


def _tutorial_or_404(slug: str) -> Tutorial:
    found = tutorial(slug, _language())
    if found is None:
        raise Http404(_("There is no such page in the docs."))
    return found


def _sections(pages: list[Tutorial]) -> list[tuple[str, list[Tutorial]]]:
    """Pages by section, in reading order."""
    return [(name, list(group)) for name, group in groupby(pages, key=lambda page: page.section)]

"""The results page over everything that can be searched."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from search import registry, services
from search.excerpts import excerpt

SHOWN = 30


@require_safe
def results(request: HttpRequest) -> HttpResponse:
    """What was found; or the page of the one thing that was named."""
    query = request.GET.get("q", "").strip()
    if address := registry.address_of(query):
        return redirect(address)
    kinds = registry.labels()
    kind = request.GET.get("kind", "")
    documents = services.find(query, kinds=[kind] if kind in kinds else (), language=get_language() or "")[:SHOWN]
    found = [
        {"document": document, "kind": registry.label_of(document.kind), "excerpt": excerpt(document.body, query)}
        for document in documents
    ]
    context = {"query": query, "found": found, "kinds": kinds.items(), "kind": kind if kind in kinds else ""}
    return render(request, "search/results.html", context)

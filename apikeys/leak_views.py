"""For people who found a key of this portal, and for programs that look for keys."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from apikeys.github import KeysUnknownError, UnreadableReportError, is_signed_by_github, take_findings
from apikeys.leak_forms import FoundKeyForm
from apikeys.leaks import report_leak
from apikeys.scanning import RULES, pattern, prefixes, text_of
from common.api import problem_response
from common.context import current_origin
from common.throttles import is_too_often

REPORTS_PER_PERIOD = 20
PERIOD_SECONDS = 600


def reports_too_often() -> bool:
    """Counts a report of this request's address; page and API together."""
    return is_too_often("leak", address=current_origin.get().address, most=REPORTS_PER_PERIOD, seconds=PERIOD_SECONDS)


@never_cache
@sensitive_post_parameters("text")
@require_http_methods(["GET", "HEAD", "POST"])
def found(request: HttpRequest) -> HttpResponse:
    """Whoever has a key may have it revoked: having it is the proof. The answer is the same for every key."""
    form = FoundKeyForm(request.POST or None)
    if request.method == "POST":
        if reports_too_often():
            return render(request, "apikeys/too_often.html", {"minutes": PERIOD_SECONDS // 60}, status=429)
        if form.is_valid():
            user = request.user
            report_leak(**form.cleaned_data, by=user if isinstance(user, User) else None)
            return redirect(reverse("leaks:found") + "?thanks")
    context = {"form": form, "is_thanked": "thanks" in request.GET and request.method != "POST"}
    return render(request, "apikeys/found.html", context, status=400 if form.errors else 200)


@csrf_exempt
@require_POST
def github(request: HttpRequest) -> JsonResponse:
    """What GitHub's secret scanning found; answered with which of it were keys of ours, so only to GitHub."""
    if not settings.GITHUB_SECRET_SCANNING_KEYS_URL:
        raise Http404
    named, signature = (request.headers.get(f"Github-Public-Key-{part}", "") for part in ("Identifier", "Signature"))
    try:
        if not is_signed_by_github(request.body, key_name=named, signature=signature):
            return problem_response(403, "This is not signed with a key of GitHub.", code="not_signed")
        return JsonResponse(take_findings(request.body), safe=False, headers={"Cache-Control": "no-store"})
    except KeysUnknownError:
        return problem_response(503, "GitHub's public keys cannot be fetched now. Try again.", code="keys_unknown")
    except UnreadableReportError:
        return problem_response(400, "This is not a list of findings.", code="unreadable")


@require_safe
def scanning(request: HttpRequest) -> HttpResponse:
    files = [(rules, text_of(rules.name), reverse("leaks:rules", args=[rules.name])) for rules in RULES]
    context = {"files": files, "prefixes": prefixes(), "pattern": pattern(), "public_url": settings.PUBLIC_URL}
    return render(request, "apikeys/scanning.html", context)


@require_safe
def rules(request: HttpRequest, name: str) -> HttpResponse:
    """One of the files as it is, at an address that stays."""
    try:
        return HttpResponse(text_of(name), content_type="text/plain; charset=utf-8")
    except KeyError:
        raise Http404 from None

"""For people who found a key of this portal, and for programs that look for keys."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import User
from apikeys.leak_forms import FoundKeyForm
from apikeys.leaks import report_leak
from apikeys.scanning import RULES, pattern, prefixes, text_of
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

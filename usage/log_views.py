"""The request log: its list, the list as a file, and the page of one call."""

from datetime import UTC
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import AuthedRequest, current_project, rights_in
from accounts.listing import Listing, Order
from accounts.models import User
from apikeys.access import may_see
from apikeys.models import ApiKey
from catalog.models import HostedModel
from common.files import streamed_file
from usage import log
from usage.forms import FilterForm
from usage.refusals import MOST_REFUSALS_A_MINUTE
from usage.reports import has_usage
from usage.sight import sights
from usage.views import named_project, seen_by, siblings_of

ORDERS = {
    "newest": Order(gettext_lazy("Newest first"), "at"),
    "oldest": Order(gettext_lazy("Oldest first"), "at", ascending=True),
}
ORGANIZATION = "organization"
MOST_TITLE_CHARACTERS = 150


@never_cache
@login_required
@require_safe
def calls(request: AuthedRequest) -> HttpResponse:
    """The calls that the address asks for. A request id leads to the page of its call."""
    listing = Listing.of(request, ORDERS)
    if address := log.page_of_call_in(listing.query):
        return redirect(address)
    project = named_project(request)
    is_organization_wide = request.GET.get("scope") == ORGANIZATION
    siblings = siblings_of(request.user, project)
    seen = sights(request.user, siblings if is_organization_wide else [project])
    form = FilterForm(request.GET, key=listing.query)
    page = listing.page(*log.calls(seen=seen, asked=form.asked()))
    return render(
        request,
        "usage/log.html",
        {
            "project": project,
            "listing": listing,
            "form": form,
            "page": page,
            "calls": log.described(page.items, seen=seen),
            "is_new_here": not page.items and not has_usage(sights=seen),
            "is_own_only": any(sight.own is not None for sight in seen),
            "sees_people": any(sight.sees_people for sight in seen),
            "is_organization_wide": is_organization_wide,
            "scopes": _scopes(request, is_organization_wide) if len(siblings) > 1 else [],
            "file_url": reverse("usage:calls_file") + _query(request, sort=None),
        },
    )


@never_cache
@login_required
@require_safe
def file(request: AuthedRequest) -> HttpResponseBase:
    """The same calls as CSV, whole."""
    seen = seen_by(request, is_organization_wide=request.GET.get("scope") == ORGANIZATION)
    asked = FilterForm(request.GET, key=Listing.of(request, ORDERS).query).asked()
    parts = log.csv_parts(seen=seen, asked=asked)
    return streamed_file(parts, content_type="text/csv; charset=utf-8", name=f"calls-{timezone.localdate()}.csv")


@never_cache
@login_required
@require_safe
def call(request: AuthedRequest, request_id: str) -> HttpResponse:
    """Everything that is known of a call; where none is seen that has the id, what that may mean."""
    found = log.call_of(request.user, request_id)
    if found is None:
        context: dict[str, Any] = {"request_id": request_id, "most_refusals": MOST_REFUSALS_A_MINUTE}
        return render(request, "usage/no_call.html", context, status=404)
    model = found.event.model
    context = {
        "call": found,
        "sees_key": _sees_key(request.user, found),
        "ask_url": f"{reverse('forum:ask')}?{urlencode(_question(found))}",
    }
    if HostedModel.objects.for_chat().filter(public_name=model).exists():
        context["playground_url"] = f"{reverse('playground:index')}?{urlencode({'model': model})}"
    # The log is that of the project which is worked in: it would not have this call of another.
    if found.event.error_code and found.project == current_project(request):
        context["alike_url"] = f"{reverse('usage:calls')}?{urlencode({'code': found.event.error_code})}"
    return render(request, "usage/call.html", context)


def _query(request: AuthedRequest, **changes: str | None) -> str:
    """What the address asks for, with `changes`; None takes a part out. It begins with the first page."""
    asked = request.GET.dict() | changes | {"cursor": None}
    return "?" + urlencode({name: value for name, value in asked.items() if value is not None})


def _scopes(request: AuthedRequest, is_organization_wide: bool) -> list[tuple[str, str, bool]]:
    return [
        (_("This project"), _query(request, scope=None), not is_organization_wide),
        (_("All projects"), _query(request, scope=ORGANIZATION), is_organization_wide),
    ]


def _sees_key(user: User, call: log.Call) -> bool:
    key = ApiKey.objects.filter(public_id=call.event.key_id, project=call.project).first()
    return key is not None and may_see(user, key, rights_in(user, call.project))


def _question(call: log.Call) -> dict[str, str]:
    """A question about the call, begun: what happened, and nothing of whose call it was."""
    event = call.event
    status = f"{event.status} {event.error_code}".strip()
    facts = {
        "request id": event.request_id,
        "time": f"{event.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "endpoint": f"/v1/{event.endpoint}" + (" (streamed)" if event.is_streamed else ""),
        "model": event.model or "-",
        "status": status,
        "tokens": f"{event.prompt_tokens} in ({event.cached_tokens} cached), {event.completion_tokens} out",
        "first token": "-" if event.first_token_ms is None else f"{event.first_token_ms} ms",
        "duration": f"{event.latency_ms} ms",
    }
    table = "\n".join(f"{name:<13}{value}" for name, value in facts.items())
    asked = _("What did you try, and what did you expect?")
    return {
        "title": f"{status}: {event.model or event.endpoint}"[:MOST_TITLE_CHARACTERS] if call.problem else "",
        "text": f"{asked}\n\n\n\n```text\n{table}\n```\n",
    }

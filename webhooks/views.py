"""Pages of an organization's webhooks, for whoever manages it."""

import json
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import AuthedRequest, organization_for
from accounts.errors import RefusedError
from accounts.listing import NEWEST, OLDEST, Listing, Order
from accounts.roles import Right
from webhooks import services
from webhooks.access import delivery_for, endpoint_for
from webhooks.forms import EndpointForm
from webhooks.models import Delivery, DeliveryState, Endpoint
from webhooks.registry import event_types
from webhooks.wording import failure_in_words

ENDPOINT_ORDERS = {"newest": NEWEST, "address": Order(gettext_lazy("Address"), "url", ascending=True)}
LOG_ORDERS = {"newest": NEWEST, "oldest": OLDEST}


@never_cache
@login_required
@require_safe
def index(request: AuthedRequest, organization_id: str) -> HttpResponse:
    """The organization's endpoints, and what can be told."""
    organization = organization_for(request.user, organization_id, to=Right.MANAGE_ORGANIZATION)
    listing = Listing.of(request, ENDPOINT_ORDERS)
    endpoints = Endpoint.objects.filter(organization=organization)
    if listing.query:
        endpoints = endpoints.matching(listing.query)
    context = {
        "organization": organization,
        "listing": listing,
        "page": listing.page(endpoints),
        "event_types": event_types(),
    }
    return render(request, "webhooks/list.html", context)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: AuthedRequest, organization_id: str) -> HttpResponse:
    """A POST makes an endpoint and shows its secret on the page it answers with, the only time it is readable."""
    organization = organization_for(request.user, organization_id, to=Right.MANAGE_ORGANIZATION)
    form = EndpointForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            endpoint, secret = services.create_endpoint(organization=organization, by=request.user, **form.cleaned_data)
        except RefusedError as refusal:
            form.add_error(None, str(refusal))
        else:
            return _shown(request, endpoint, secret=secret)
    context = {"organization": organization, "form": form}
    return render(request, "webhooks/form.html", context, status=400 if form.errors else 200)


@never_cache
@login_required
@require_safe
def endpoint(request: AuthedRequest, organization_id: str, endpoint_id: str) -> HttpResponse:
    """An endpoint and the log of what was sent there."""
    return _shown(request, endpoint_for(request.user, organization_id, endpoint_id))


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: AuthedRequest, organization_id: str, endpoint_id: str) -> HttpResponse:
    shown = endpoint_for(request.user, organization_id, endpoint_id)
    initial = {"url": shown.url, "description": shown.description, "event_types": shown.event_types}
    form = EndpointForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        services.change_endpoint(endpoint=shown, by=request.user, **form.cleaned_data)
        messages.success(request, _("The endpoint is saved."))
        return redirect("webhooks:endpoint", organization_id, endpoint_id)
    context = {"organization": shown.organization, "endpoint": shown, "form": form}
    return render(request, "webhooks/form.html", context, status=400 if form.errors else 200)


@never_cache
@login_required
@require_POST
def rotate(request: AuthedRequest, organization_id: str, endpoint_id: str) -> HttpResponse:
    """A new secret, shown on the page this answers with, the only time it is readable."""
    shown = endpoint_for(request.user, organization_id, endpoint_id)
    return _shown(request, shown, secret=services.rotate_secret(endpoint=shown, by=request.user))


@login_required
@require_POST
def set_enabled(request: AuthedRequest, organization_id: str, endpoint_id: str) -> HttpResponse:
    shown = endpoint_for(request.user, organization_id, endpoint_id)
    services.set_enabled(endpoint=shown, enabled=request.POST.get("enabled") == "yes", by=request.user)
    return redirect("webhooks:endpoint", organization_id, endpoint_id)


@login_required
@require_POST
def test(request: AuthedRequest, organization_id: str, endpoint_id: str) -> HttpResponse:
    services.send_test(endpoint=endpoint_for(request.user, organization_id, endpoint_id))
    messages.info(request, _("A test message is on its way. Reload the page to see what became of it."))
    return redirect("webhooks:endpoint", organization_id, endpoint_id)


@login_required
@require_POST
def remove(request: AuthedRequest, organization_id: str, endpoint_id: str) -> HttpResponse:
    services.remove_endpoint(endpoint=endpoint_for(request.user, organization_id, endpoint_id), by=request.user)
    messages.success(request, _("The endpoint is removed. Nothing more is sent there."))
    return redirect("webhooks:list", organization_id)


@never_cache
@login_required
@require_safe
def delivery(request: AuthedRequest, organization_id: str, endpoint_id: str, delivery_id: str) -> HttpResponse:
    """One message: what was sent, and what the server answered."""
    shown = delivery_for(request.user, organization_id, endpoint_id, delivery_id)
    context = {
        "organization": shown.endpoint.organization,
        "endpoint": shown.endpoint,
        "delivery": shown,
        "failure": failure_in_words(shown.failure),
        "body": json.dumps(shown.message.body, indent=2, ensure_ascii=False),
    }
    return render(request, "webhooks/delivery.html", context)


@login_required
@require_POST
def resend(request: AuthedRequest, organization_id: str, endpoint_id: str, delivery_id: str) -> HttpResponse:
    services.resend(delivery=delivery_for(request.user, organization_id, endpoint_id, delivery_id))
    messages.info(request, _("The message is sent again. Reload the page to see what became of it."))
    return redirect("webhooks:delivery", organization_id, endpoint_id, delivery_id)


def _shown(request: AuthedRequest, shown: Endpoint, *, secret: str = "") -> HttpResponse:
    listing = Listing.of(request, LOG_ORDERS)
    log = Delivery.objects.for_log(shown)
    if listing.query:
        log = log.matching(listing.query)
    state = request.GET.get("state")
    if state in DeliveryState.values:
        log = log.filter(state=state)
    context: dict[str, Any] = {
        "organization": shown.organization,
        "endpoint": shown,
        "secret": secret,
        "listing": listing,
        "kept": {"state": state} if state in DeliveryState.values else {},
        "page": listing.page(log),
        "states": [(choice.value, choice.label, choice.value == state) for choice in DeliveryState],
        "state": state,
    }
    return render(request, "webhooks/endpoint.html", context)

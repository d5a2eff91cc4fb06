from functools import partial
from typing import cast

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from accounts.access import AuthedRequest, current_project, staff_required
from accounts.limits.forms import LimitsForm
from accounts.limits.views import edit_limits
from accounts.listing import BY_NAME, NEWEST, Listing, Order
from accounts.models import Plan
from catalog import services
from catalog.discovery import DiscoveryError, FoundServer
from catalog.forms import AddressForm, ConnectForm, DeploymentForm, EditBackendForm, ModelForm
from catalog.models import Backend, Deployment, HostedModel, ModelPrice
from catalog.running import note_running

ORDERS = {
    "name": BY_NAME,
    "newest": NEWEST,
    "price": Order(gettext_lazy("Lowest price first"), "price_nano", ascending=True),
}
BACKEND_ORDERS = {"name": Order(gettext_lazy("Name"), "name", ascending=True), "newest": NEWEST}


@require_safe
def models_page(request: HttpRequest) -> HttpResponse:
    """Every model that can be called here, for anybody."""
    listing, plan = Listing.of(request, ORDERS), _plan_of(request)
    found = HostedModel.objects.for_models_page().priced_under(plan)
    if listing.query:
        found = found.matching(listing.query)
    page = listing.page(found)
    context = {"listing": listing, "page": page, "plan": plan, "models": [model.under(plan) for model in page.items]}
    return render(request, "catalog/models.html", context)


@require_safe
def model_page(request: HttpRequest, name: str) -> HttpResponse:
    """The facts of one model, and the code that calls it."""
    model = get_object_or_404(HostedModel.objects.for_models_page(), public_name=name)
    plan = _plan_of(request)
    context = {
        "model": model.under(plan),
        "plan": plan,
        # What others pay is not what it costs here.
        "prices": () if plan and name in plan.prices else ModelPrice.objects.history_of(model),
        "base_url": f"{settings.PUBLIC_URL}/v1",
    }
    return render(request, "catalog/model.html", context)


def _plan_of(request: HttpRequest) -> Plan | None:
    """The plan of the organization that the reader works in; None for who is not signed in."""
    if not request.user.is_authenticated:
        return None
    return current_project(cast(AuthedRequest, request)).organization.plan


@staff_required
@require_safe
def backends_page(request: AuthedRequest) -> HttpResponse:
    """The inference servers behind the portal, and those on this machine that could be."""
    listing = Listing.of(request, BACKEND_ORDERS)
    backends = Backend.objects.for_backends_page()
    if listing.query:
        backends = backends.matching(listing.query)
    page = listing.page(backends)
    note_running(page.items)
    context = {"listing": listing, "page": page, "found": services.find_local_servers()}
    return render(request, "catalog/backends.html", context)


@staff_required
@never_cache
@sensitive_post_parameters("credential")
@require_http_methods(["GET", "HEAD", "POST"])
def connect(request: AuthedRequest) -> HttpResponse:
    """Connect a server; its test shows what would be found and saves nothing."""
    form = ConnectForm(request.POST or None)
    found: FoundServer | None = None
    if request.method == "POST" and form.is_valid():
        answers = form.cleaned_data
        try:
            if "test" in request.POST:
                found = services.discover(
                    url=answers["base_url"], credential=answers["credential"], kind=answers["kind"]
                )
            else:
                connected = services.connect_backend(**answers, by=request.user)
                return _show_connected(request, connected)
        except DiscoveryError as error:
            form.refuse(error)
    return _form_page(request, "catalog/connect.html", form, found)


@staff_required
@never_cache
@sensitive_post_parameters("credential")
@require_http_methods(["GET", "HEAD", "POST"])
def backend_page(request: AuthedRequest, name: str) -> HttpResponse:
    """One server: how it is, which models it serves, and where it is."""
    backend = get_object_or_404(Backend.objects.for_backends_page(), name=name)
    note_running([backend])
    form = EditBackendForm(request.POST or None, backend=backend)
    found: FoundServer | None = None
    if request.method == "POST" and not backend.is_embedded and form.is_valid():
        answers = form.cleaned_data
        try:
            if "test" in request.POST:
                found = services.try_backend(
                    backend=backend, url=answers["base_url"], credential=form.new_credential(), kind=answers["kind"]
                )
            else:
                connected = services.connect_backend(
                    name=backend.name,
                    base_url=answers["base_url"],
                    credential=form.new_credential(),
                    kind=answers["kind"],
                    by=request.user,
                )
                return _show_connected(request, connected)
        except DiscoveryError as error:
            form.refuse(error)
    return _form_page(request, "catalog/backend.html", form, found, backend=backend)


@staff_required
@require_POST
def check_now(request: AuthedRequest) -> HttpResponse:
    services.check_backends()
    return redirect("catalog:backends")


@staff_required
@require_POST
def rediscover(request: AuthedRequest, name: str) -> HttpResponse:
    backend = get_object_or_404(Backend, name=name, is_embedded=False)
    try:
        connected = services.rediscover_backend(backend=backend)
    except DiscoveryError as error:
        messages.error(request, _("Nothing was changed. %(reason)s") % {"reason": error})
        return redirect("catalog:backend", name)
    return _show_connected(request, connected)


@staff_required
@require_POST
def set_enabled(request: AuthedRequest, name: str) -> HttpResponse:
    backend = get_object_or_404(Backend, name=name)
    services.set_backend_enabled(backend=backend, is_enabled=request.POST.get("enabled") == "yes", by=request.user)
    return redirect("catalog:backend", name)


@staff_required
@require_POST
def set_deployment_enabled(request: AuthedRequest, name: str) -> HttpResponse:
    deployment = get_object_or_404(
        Deployment, backend__name=name, backend_name=request.POST.get("backend_name", "").replace("\0", "")
    )
    services.set_deployment_enabled(
        deployment=deployment, is_enabled=request.POST.get("enabled") == "yes", by=request.user
    )
    return redirect("catalog:backend", name)


@staff_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit_deployment(request: AuthedRequest, name: str, backend_name: str) -> HttpResponse:
    """How calls for one model go to one backend."""
    deployment = get_object_or_404(Deployment.objects.with_both_ends(), backend__name=name, backend_name=backend_name)
    form = DeploymentForm(request.POST or None, deployment=deployment)
    if request.method == "POST" and form.is_valid():
        services.edit_deployment(deployment=deployment, by=request.user, **form.cleaned_data)
        messages.success(request, _("Saved. Calls follow within seconds."))
        return redirect("catalog:backend", name)
    context = {"deployment": deployment, "form": form}
    return render(request, "catalog/edit_deployment.html", context, status=400 if form.errors else 200)


@staff_required
@require_POST
def remove(request: AuthedRequest, name: str) -> HttpResponse:
    backend = get_object_or_404(Backend, name=name, is_embedded=False)
    services.remove_backend(backend=backend, by=request.user)
    messages.success(request, _("The backend %(name)s is removed.") % {"name": name})
    return redirect("catalog:backends")


@staff_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit_model(request: AuthedRequest, name: str) -> HttpResponse:
    """What developers read about a model, what it costs, and whether they see it."""
    model = get_object_or_404(HostedModel.objects.prefetch_related("deployments__backend"), public_name=name)
    form = ModelForm(request.POST or None, hosted_model=model)
    if request.method == "POST" and form.is_valid():
        services.edit_model(hosted_model=model, by=request.user, **form.changes())
        messages.success(request, _("Saved. Calls follow within seconds."))
        return redirect("catalog:edit_model", name)
    is_offered = HostedModel.objects.offered().filter(pk=model.pk).exists()
    prices = ModelPrice.objects.history_of(model)
    context = {"model": model, "form": form, "is_offered": is_offered, "prices": prices}
    return render(request, "catalog/edit_model.html", context, status=400 if form.errors else 200)


@staff_required
@require_http_methods(["GET", "HEAD", "POST"])
def model_limits(request: AuthedRequest, name: str) -> HttpResponse:
    """What each organization may use of a model."""
    model = get_object_or_404(HostedModel, public_name=name)
    form = LimitsForm(request.POST or None, limited=model)
    save = partial(services.change_model_limits, hosted_model=model)
    return edit_limits(request, form, save, "catalog/model_limits.html", {"model": model})


def _form_page(
    request: AuthedRequest, template: str, form: AddressForm, found: FoundServer | None, backend: Backend | None = None
) -> HttpResponse:
    # htmx swaps the form alone, and only an answer of 2xx; a page without script gets the whole of it and its status.
    context = {"form": form, "found": found, "backend": backend}
    if request.htmx:
        return render(request, "catalog/_server_form.html", context)
    return render(request, template, context, status=400 if form.errors else 200)


def _show_connected(request: AuthedRequest, connected: services.Connected) -> HttpResponse:
    count = len(connected.found)
    serves = ngettext("It serves %(count)s model.", "It serves %(count)s models.", count) % {"count": count}
    if connected.is_new:
        messages.success(request, _("%(name)s is connected.") % {"name": connected.backend.name} + " " + serves)
    else:
        messages.success(request, _("%(name)s is up to date.") % {"name": connected.backend.name} + " " + serves)
    if connected.vanished:
        messages.warning(
            request,
            _("No longer listed there, so no longer served from there: %(models)s.")
            % {"models": ", ".join(connected.vanished)},
        )
    if connected.passed_over:
        messages.warning(
            request,
            _("Not hosted, for other models have these names as aliases: %(models)s.")
            % {"models": ", ".join(connected.passed_over)},
        )
    target = reverse("catalog:backend", args=[connected.backend.name])
    return HttpResponseClientRedirect(target) if request.htmx else redirect(target)

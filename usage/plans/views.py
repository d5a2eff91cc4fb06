"""The pages on which staff make plans and give them, and on which an organization sees its own and chooses."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import AuthedRequest, organization_for, rights_in_organization, staff_required
from accounts.errors import RefusedError
from accounts.models import Organization, Plan, PlanChange
from accounts.plans import services
from accounts.roles import Right
from catalog.models import HostedModel
from common.edits import ChangedMeanwhileError
from common.paging import keyset_page
from usage.plans.forms import AssignForm, PlanForm
from usage.plans.history import told
from usage.plans.offers import compared, consequences_of, offer_of

MOST_LISTED = 50


@staff_required
@require_safe
def plans_page(request: AuthedRequest) -> HttpResponse:
    """Every plan, as staff see them."""
    return render(request, "plans/plans.html", {"plans": Plan.objects.for_plans_page()})


@staff_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_plan(request: AuthedRequest) -> HttpResponse:
    form = PlanForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            plan = services.make_plan(changes=form.changes(), by=request.user)
        except RefusedError as error:
            form.refuse(error)
        else:
            messages.success(request, _("The plan is made. Put organizations on it here, or open it to all."))
            return redirect("plans:plan", plan.public_id)
    return render(request, "plans/new_plan.html", {"form": form}, status=400 if form.errors else 200)


@staff_required
@require_http_methods(["GET", "HEAD", "POST"])
def plan_page(request: AuthedRequest, plan_id: str) -> HttpResponse:
    """A plan: what it is and allows, who is on it, and what was changed of it."""
    plan = get_object_or_404(Plan, public_id=plan_id)
    form = PlanForm(request.POST or None, plan=plan)
    if request.method == "POST" and form.is_valid():
        try:
            services.change_plan(plan=plan, changes=form.changes(), shown=form.was_shown, by=request.user)
        except ChangedMeanwhileError as error:
            form.refuse_to_overwrite(error)
        except RefusedError as error:
            form.refuse(error)
        else:
            messages.success(request, _("The plan is saved. Calls feel it at once."))
            return redirect("plans:plan", plan.public_id)
    return _plan_page(request, plan, form, AssignForm())


@never_cache
@staff_required
@require_http_methods(["GET", "HEAD", "POST"])
def assign(request: AuthedRequest, plan_id: str) -> HttpResponse:
    """What would change for an organization that is put on the plan; posting it does so."""
    plan = get_object_or_404(Plan, public_id=plan_id)
    form = AssignForm(request.POST if request.method == "POST" else request.GET)
    if form.is_valid():
        found: Organization = form.cleaned_data["organization"]
        if request.method != "POST":
            return _choice_page(request, found, plan, is_for_another=True)
        try:
            services.assign_plan(organization=found, plan=plan, by=request.user)
        except RefusedError as error:
            form.add_error("organization", str(error))
        else:
            words = _("%(organization)s is on the plan %(plan)s now.")
            messages.success(request, words % {"organization": found, "plan": plan})
            return redirect("plans:plan", plan.public_id)
    return _plan_page(request, plan, PlanForm(plan=plan), form)


@staff_required
@require_POST
def take_off(request: AuthedRequest, plan_id: str) -> HttpResponse:
    """Have an organization that is on the plan be on none."""
    found = get_object_or_404(
        Organization, public_id=request.POST.get("organization", "").replace("\0", ""), plan__public_id=plan_id
    )
    services.assign_plan(organization=found, plan=None, by=request.user)
    messages.success(request, _("%(organization)s is on no plan now.") % {"organization": found})
    return redirect("plans:plan", plan_id)


def _plan_page(request: AuthedRequest, plan: Plan, form: PlanForm, assigning: AssignForm) -> HttpResponse:
    # A copy, so that a name that was refused does not stand in the page's head.
    organizations = list(plan.organizations.order_by("name", "pk")[: MOST_LISTED + 1])
    context = {
        "plan": Plan.objects.get(pk=plan.pk),
        "form": form,
        "assigning": assigning,
        "organizations": organizations[:MOST_LISTED],
        "has_more": len(organizations) > MOST_LISTED,
        **_history(request, plan),
    }
    return render(request, "plans/plan.html", context, status=400 if form.errors or assigning.errors else 200)


def _history(request: AuthedRequest, subject: Plan | Organization) -> dict[str, Any]:
    """A page of what was changed, in words."""
    page = keyset_page(PlanChange.objects.history_of(subject), by="at", cursor=request.GET.get("cursor"))
    return {"page": page, "history": told(page.items)}


# Of an organization ---------------------------------------------------------------------------------------------------


@login_required
@require_safe
def organization_plan(request: AuthedRequest, organization_id: str) -> HttpResponse:
    """The plan that an organization is on, for all in it; who manages it sees beside it those that are open to all."""
    found = organization_for(request.user, organization_id)
    models = list(HostedModel.objects.for_models_page())
    rights = rights_in_organization(request.user, found)
    may_manage = Right.MANAGE_ORGANIZATION in rights
    others = Plan.objects.to_choose() if may_manage and found.may_choose_plan else Plan.objects.none()
    context = {
        "organization": found,
        "may_manage": may_manage,
        "sees_usage": Right.SEE_USAGE in rights,
        "current": offer_of(found.plan, models),
        "offers": [offer_of(plan, models) for plan in others if plan != found.plan],
        **(_history(request, found) if may_manage else {}),
    }
    return render(request, "plans/organization_plan.html", context)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def choose_plan(request: AuthedRequest, organization_id: str, plan_id: str) -> HttpResponse:
    """What would change with another plan; posting it chooses it."""
    found = organization_for(request.user, organization_id, to=Right.MANAGE_ORGANIZATION)
    plan = get_object_or_404(Plan.objects.to_choose(), public_id=plan_id)
    fault = ""
    if request.method == "POST":
        try:
            services.choose_plan(organization=found, plan=plan, mark=request.POST.get("mark", ""), by=request.user)
        except RefusedError as error:
            fault = str(error)
        else:
            messages.success(request, _("%(organization)s is on the plan %(plan)s now.")
                             % {"organization": found, "plan": plan})  # fmt: skip
            return redirect("plans:organization", found.public_id)
    return _choice_page(request, found, plan, fault=fault)


def _choice_page(
    request: AuthedRequest, organization: Organization, plan: Plan, *, fault: str = "", is_for_another: bool = False
) -> HttpResponse:
    models = list(HostedModel.objects.for_models_page())
    context = {
        "organization": organization,
        "plan": plan,
        "fault": fault,
        "is_for_another": is_for_another,
        "comparison": compared(offer_of(organization.plan, models), offer_of(plan, models)),
        "consequences": consequences_of(plan, organization),
    }
    return render(request, "plans/choose.html", context, status=409 if fault else 200)

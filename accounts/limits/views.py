"""The pages on which an organization's owners and admins set limits."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.access import AuthedRequest, managed_member, managed_project, organization_for, rights_in
from accounts.errors import RefusedError
from accounts.limits import services
from accounts.limits.forms import LimitsForm, OrganizationLimitsForm
from accounts.roles import Right
from common.edits import ChangedMeanwhileError


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def organization_limits(request: AuthedRequest, organization_id: str) -> HttpResponse:
    found = organization_for(request.user, organization_id, to=Right.MANAGE_ORGANIZATION)
    form = OrganizationLimitsForm(request.POST or None, limited=found)
    save = partial(services.change_organization_limits, organization=found)
    return edit_limits(request, form, save, "accounts/organization_limits.html", {"organization": found})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def project_limits(request: AuthedRequest, project_id: str) -> HttpResponse:
    found = managed_project(request.user, project_id)
    form = LimitsForm(request.POST or None, limited=found)
    context = {"project": found, "rights": rights_in(request.user, found), "may_limit": True}
    save = partial(services.change_project_limits, project=found)
    return edit_limits(request, form, save, "accounts/project_limits.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def member_limits(request: AuthedRequest, organization_id: str, member_id: str) -> HttpResponse:
    found = managed_member(request.user, organization_id, member_id)
    form = LimitsForm(request.POST or None, limited=found)
    context = {"organization": found.organization, "member": found}
    save = partial(services.change_member_limits, membership=found)
    return edit_limits(request, form, save, "accounts/member_limits.html", context)


def edit_limits(
    request: AuthedRequest,
    form: LimitsForm,
    save: Callable[..., None],
    template: str,
    context: dict[str, Any],
) -> HttpResponse:
    """Show a form of limits, or save what was changed in it."""
    if request.method == "POST" and form.is_valid():
        try:
            save(changes=form.changes(), shown=form.was_shown, by=request.user)
        except ChangedMeanwhileError as error:
            form.refuse_to_overwrite(error)
        except RefusedError as error:
            form.add_error("time_zone", str(error))
        else:
            messages.success(request, _("The limits are saved. Calls feel them at once."))
            return redirect(request.path)
    return render(request, template, {**context, "form": form}, status=400 if form.errors else 200)

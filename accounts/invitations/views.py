"""The pages by which people come into an organization, and those on which it is said who may."""

from typing import cast

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.access import AuthedRequest, choose_project
from accounts.errors import RefusedError
from accounts.invitations import links
from accounts.models import JoinLink, JoinState, Membership, User


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """What a join link leads to: for a visitor the way to an account and back, for everybody else one button."""
    link = links.link_behind(token)
    if link is None:
        return render(request, "accounts/no_such_link.html", status=404)
    user = request.user
    if request.method == "POST":
        if not isinstance(user, User):
            return redirect_to_login(request.path)
        return _come_in(cast(AuthedRequest, request), link)
    context = {"link": link, "here": request.path, "refusal": links.REFUSALS.get(link.state)}
    if isinstance(user, User):
        context["is_member"] = Membership.objects.filter(organization=link.organization, user=user).exists()
    return render(request, "accounts/join.html", context, status=200 if link.state == JoinState.OPEN else 410)


def _come_in(request: AuthedRequest, link: JoinLink) -> HttpResponse:
    try:
        came = links.join(link=link, user=request.user)
    except RefusedError as error:
        messages.error(request, str(error))
        return redirect(request.path)
    if came:
        messages.success(request, _("Welcome to %(name)s.") % {"name": link.organization})
    else:
        messages.info(request, _("You were in already. Nothing has changed."))
    if link.project:
        choose_project(request, link.project)
        return redirect("quickstart")
    return redirect("accounts:projects", link.organization.public_id)

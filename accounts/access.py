"""Who may fetch what: views reach organizations and projects through here only."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django_htmx.middleware import HtmxDetails

from accounts.models import Project, User
from accounts.services import open_workspace

P = ParamSpec("P")

SESSION_KEY = "project"


class AuthedRequest(HttpRequest):
    """A request of someone signed in, as `login_required` leaves it."""

    user: User
    htmx: HtmxDetails


def staff_required(
    view: Callable[Concatenate[AuthedRequest, P], HttpResponse],
) -> Callable[Concatenate[AuthedRequest, P], HttpResponse]:
    """A page of the operator's: who is signed out signs in first, who is not staff cannot tell that it exists."""

    @login_required
    @wraps(view)
    def guarded(request: AuthedRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_staff:
            raise Http404
        return view(request, *args, **kwargs)

    return guarded


def project_for(user: User, public_id: str) -> Project:
    """A project of an organization the user belongs to; 404 for strangers, who cannot tell it from one that is not."""
    project = Project.objects.for_member(user).filter(public_id=public_id).first()
    if project is None:
        raise Http404
    return project


def current_project(request: AuthedRequest) -> Project:
    """The project the pages are about: the one chosen in this session, else the first of the personal organization."""
    projects = Project.objects.for_member(request.user)
    chosen = request.session.get(SESSION_KEY)
    project = projects.filter(public_id=chosen).first() if chosen else None
    return project or projects.first() or open_workspace(user=request.user)


def choose_project(request: AuthedRequest, project: Project) -> None:
    request.session[SESSION_KEY] = project.public_id

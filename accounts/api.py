"""Who asks the REST API, and about which project."""

from typing import cast

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from accounts.access import AuthedRequest, current_project, project_for
from accounts.models import Project, User

PROJECT_PARAMETER = OpenApiParameter(
    "project", str, description="The id of a project; the one chosen in this session by default."
)


def user_of(request: Request) -> User:
    """Who is asking, in a view that demands that they are signed in."""
    return cast(User, request.user)


def project_of(request: Request) -> Project:
    """The project that `project` names, else the current one; 404 for one the user has no part in."""
    # Signed in: every view that asks this demands it first.
    authed = cast(AuthedRequest, request._request)
    name = request.query_params.get("project")
    if name is None:
        return current_project(authed)
    if not name.isprintable():
        # PostgreSQL holds no NUL, and would say so with an error.
        raise Http404
    return project_for(authed.user, name)

"""What endpoints share: who asks, about which project, and how a service's refusal is answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.http import Http404
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema_field
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.serializers import CharField, Serializer, SerializerMethodField

from accounts.access import AuthedRequest, current_project, project_for
from accounts.errors import RefusedError
from accounts.models import Project, User
from common.api import ConflictError

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


def require_unbound(request: Request) -> None:
    """Refuse a key that is bound to networks or to a time what would open more than it does, or outlive it.

    Such a key is made so that a thief can do little with it: letting people in would undo that.
    """
    # A key of a package above; None is for a session.
    key: Any = request.auth
    if key is not None and key.is_bound:
        raise PermissionDenied(
            _(
                "This management key is bound to IP addresses or to a time, and this would reach beyond it. Sign in to "
                "the site to do this, or use a key without such bounds."
            ),
            code="needs_a_person",
        )


@contextmanager
def refusals_as_conflicts() -> Iterator[None]:
    """Answers 409 in the words of a service that refuses."""
    try:
        yield
    except RefusedError as error:
        raise ConflictError(str(error), error.code) from error


def checked(serializer: type[Serializer[Any]], request: Request, *, partial: bool = False) -> dict[str, Any]:
    """The body of the request as the serializer understands it; 400 when it does not."""
    asked = serializer(data=request.data, partial=partial)
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


SEARCH_PARAMETER = OpenApiParameter("q", str, description="Only those whose name holds this.")


class PersonSerializer(Serializer[Any]):
    """Somebody among others. The address is null for whoever does not manage the people of the organization."""

    id = CharField(source="user.public_id")
    name = CharField(source="user.display_name")
    email = SerializerMethodField()

    @extend_schema_field({"type": ["string", "null"], "format": "email"})
    def get_email(self, row: Any) -> str | None:
        return row.user.email if self.context.get("sees_addresses") else None

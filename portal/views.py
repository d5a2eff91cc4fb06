"""Pages that belong to no app: the way in, and the look a visitor chose."""

import sys

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.decorators.csrf import requires_csrf_token
from django.views.decorators.http import require_POST, require_safe
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from accounts.access import AuthedRequest, current_project
from apikeys.models import ApiKey
from catalog.models import HostedModel
from common.api import problem_response
from common.redirects import next_address
from playground.models import Run
from portal.context import THEMES
from portal.restarts import LOST
from usage.models import Source, UsageEvent

BUSY_SECONDS = 5
RESTARTING = frozenset({"57P01", "57P02", "57P03"})
"""What PostgreSQL says to its clients when it stops, has crashed, and is not ready yet."""
YEAR_SECONDS = 365 * 24 * 3600


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What this portal is, for a visitor and for someone signed in alike."""
    models = list(HostedModel.objects.for_models_page().chat_first()[:6])
    return render(request, "portal/home.html", {"models": models, "portal_url": settings.PUBLIC_URL})


@login_required
@require_safe
def quickstart(request: AuthedRequest) -> HttpResponse:
    """First steps, each ticked by what really happened, and the snippets that lead to the first call."""
    project = current_project(request)
    steps = {
        "key": ApiKey.objects.usable().filter(project=project).exists(),
        "call": UsageEvent.objects.filter(project_id=project.public_id, source=Source.KEY).exists(),
        "run": Run.objects.filter(user=request.user).exists(),
    }
    model = HostedModel.objects.for_chat().in_plan(project.organization.plan).first()
    context = {"project": project, "steps": steps, "model": model, "base_url": f"{settings.PUBLIC_URL}/v1"}
    return render(request, "portal/quickstart.html", context)


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Keep the chosen theme in a cookie and go back; a page without script switches this way too."""
    theme = request.POST.get("theme", "auto")
    response = redirect(next_address(request, default="home"))
    response.set_cookie(
        "theme", theme if theme in THEMES else "auto", max_age=YEAR_SECONDS, samesite="Lax", secure=settings.PRODUCTION
    )
    return response


@requires_csrf_token
def failed(request: HttpRequest) -> HttpResponse:
    """The page of a request that failed: our fault, or there was no database connection to be had, or none any more."""
    error = sys.exc_info()[1]
    while error is not None and not _is_for_want_of_a_database(error):
        error = error.__cause__ or error.__context__
    if error is None:
        return _failure(request, 500, _("The fault is ours. Tell the operator the id of this request."), code="fault")
    request.META[LOST] = not isinstance(error, PoolTimeout)
    response = _failure(request, 503, _("The portal is busy. Try again in a few seconds."), code="busy")
    response.headers["Retry-After"] = str(BUSY_SECONDS)
    return response


def _failure(request: HttpRequest, status: int, detail: str, *, code: str) -> HttpResponse:
    """The page of this status, or to a program its detail."""
    if request.path.startswith("/api/"):
        return problem_response(status, detail, code=code)
    # Without the request: what the frame of a page shows comes from the database.
    return HttpResponse(render_to_string(f"{status}.html"), status=status)


def _is_for_want_of_a_database(error: BaseException) -> bool:
    """Whether all connections were taken, or the one in use was lost, which a restart of PostgreSQL does."""
    # A statement that PostgreSQL ended for another reason, taking too long say, has a code of another kind.
    return isinstance(error, OperationalError) and (error.sqlstate is None or error.sqlstate in RESTARTING)

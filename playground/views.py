"""The workbench: write a prompt, watch the answer, come back to it."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import AuthedRequest, current_project, rights_in
from accounts.listing import NEWEST, OLDEST, Listing
from accounts.models import User
from accounts.roles import Right
from catalog.models import HostedModel
from playground import services, tickets
from playground.explanations import explanation_of
from playground.forms import RunForm, initial_of
from playground.models import Run, request_body
from playground.rendering import render_answer
from playground.snippets import snippets

RECENT_RUNS = 12
# A small model may repeat itself for ever; whoever wants more raises or clears it.
FIRST_MAX_TOKENS = 1024
# A worker takes a run within milliseconds; who waits this long should be told why.
UNHEARD_OF_AFTER = timedelta(seconds=10)


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def index(request: AuthedRequest) -> HttpResponse:
    """An empty workbench, filled from the address when it says so; posting it starts a run."""
    project = current_project(request)
    offered = list(HostedModel.objects.for_chat().in_plan(project.organization.plan))
    if request.method == "GET":
        return _workbench(request, form=_prefilled(request, offered), offered=offered)
    form = RunForm(request.POST, models=offered)
    if not form.is_valid():
        return _workbench(request, form=form, offered=offered)
    if Right.MAKE_KEYS not in rights_in(request.user, project):
        form.add_error(None, _("You only read in the project “%(name)s”. Choose another one.") % {"name": project})
        return _workbench(request, form=form, offered=offered)
    try:
        run = services.start_run(
            user=request.user,
            project=project,
            model=form.cleaned_data["model"],
            messages=form.cleaned_data["messages"],
            parameters=form.cleaned_data["parameters"],
        )
    except services.ProjectEndedError:
        form.add_error(None, _("The project “%(name)s” has ended. Choose another one.") % {"name": project})
        return _workbench(request, form=form, offered=offered)
    except services.TooManyRunsError:
        form.add_error(None, _("You have too many runs under way. Wait until one ends, or stop one."))
        return _workbench(request, form=form, offered=offered)
    address = reverse("playground:run", args=[run.public_id])
    if not _wants_part(request):
        return redirect(address)
    response = _workbench(request, form=RunForm(models=offered, initial=initial_of(run)), offered=offered, run=run)
    response["HX-Push-Url"] = address
    return response


@never_cache
@login_required
@require_GET
def run(request: AuthedRequest, run_id: str) -> HttpResponse:
    """A run: as it stands, followed live while it is under way, and the place to go on from."""
    shown = get_object_or_404(Run.objects.of(request.user), public_id=run_id)
    offered = list(HostedModel.objects.for_chat().in_plan(current_project(request).organization.plan))
    form = RunForm(models=offered, initial=initial_of(shown))
    return _workbench(request, form=form, offered=offered, run=shown)


@never_cache
@login_required
@require_GET
def result(request: AuthedRequest, run_id: str) -> HttpResponse:
    """The answer of a run that has just ended, to stand where it was streamed, and what on the page changes with it."""
    shown = get_object_or_404(Run.objects.of(request.user), public_id=run_id)
    return render(request, "playground/_result.html", {"recent": _recent(request.user), **_about(shown, request)})


@never_cache
@login_required
@require_GET
def ticket(request: AuthedRequest, run_id: str) -> HttpResponse:
    """A fresh address of the run's stream, for a page whose ticket ran out."""
    shown = get_object_or_404(Run.objects.for_history(request.user), public_id=run_id)
    return JsonResponse({"stream": _stream_address(shown, request)})


@login_required
@require_POST
def stop(request: AuthedRequest, run_id: str) -> HttpResponse:
    services.request_stop(run=get_object_or_404(Run.objects.for_history(request.user), public_id=run_id))
    if request.htmx:
        return HttpResponse(status=204)
    return redirect("playground:run", run_id)


@login_required
@require_POST
def delete(request: AuthedRequest, run_id: str) -> HttpResponse:
    services.delete_run(run=get_object_or_404(Run.objects.for_history(request.user), public_id=run_id))
    messages.success(request, _("The run is deleted."))
    return redirect("playground:history")


@never_cache
@login_required
@require_GET
def history(request: AuthedRequest) -> HttpResponse:
    listing = Listing.of(request, {"newest": NEWEST, "oldest": OLDEST})
    runs = Run.objects.for_history(request.user)
    if listing.query:
        runs = runs.matching(listing.query)
    return render(request, "playground/history.html", {"listing": listing, "page": listing.page(runs)})


@login_required
@require_POST
def code(request: AuthedRequest) -> HttpResponse:
    """The request that the form would make, as code; with nothing new to send, the last one or a pattern for one."""
    data = request.POST.copy()
    if not data.get("prompt", "").strip():
        if any(turn["role"] == "user" for turn in RunForm(data, models=()).turns):
            data["again"] = "1"
        else:
            data["prompt"] = _("Your prompt")
    form = RunForm(data, models=HostedModel.objects.for_chat())
    context: dict[str, Any] = {"form": form}
    if form.is_valid():
        body = request_body(
            model=form.cleaned_data["model"],
            messages=form.cleaned_data["messages"],
            parameters=form.cleaned_data["parameters"],
        )
        context["snippets"] = snippets(body, base_url=f"{settings.PUBLIC_URL}/v1")
    return render(request, "playground/_code.html" if _wants_part(request) else "playground/code.html", context)


def _prefilled(request: HttpRequest, offered: list[HostedModel]) -> RunForm:
    initial: dict[str, Any] = {
        name: request.GET[name] for name in ("model", "prompt", "system") if request.GET.get(name)
    }
    names = [model.public_name for model in offered]
    if "model" in initial and initial["model"] not in names:
        messages.warning(
            request, _("%(model)s is not offered here. Choose another model.") % {"model": initial["model"]}
        )
        del initial["model"]
    if names:
        initial.setdefault("model", names[0])
    return RunForm(models=offered, initial={"max_tokens": FIRST_MAX_TOKENS, **initial})


def _workbench(
    request: AuthedRequest, *, form: RunForm, offered: list[HostedModel], run: Run | None = None
) -> HttpResponse:
    context: dict[str, Any] = {
        "form": form,
        "has_models": bool(offered),
        "demonstration_models": [model.public_name for model in offered if model.is_demonstration],
        "turns": [{**turn, "html": render_answer(turn["content"])} for turn in form.turns],
        "recent": _recent(request.user),
    }
    if run is not None:
        context |= _about(run, request)
    return render(request, "playground/_part.html" if _wants_part(request) else "playground/index.html", context)


def _about(run: Run, request: AuthedRequest) -> dict[str, Any]:
    unheard_of_at = run.created_at + UNHEARD_OF_AFTER
    return {
        "run": run,
        "answer": render_answer(run.output),
        "explanation": explanation_of(run.error_code) if run.error_code else None,
        "stream_address": "" if run.is_finished else _stream_address(run, request),
        "unheard_of_ms": max(0, int((unheard_of_at - timezone.now()).total_seconds() * 1000)),
    }


def _recent(user: User) -> QuerySet[Run]:
    return Run.objects.for_history(user).order_by("-created_at", "-pk")[:RECENT_RUNS]


def _wants_part(request: AuthedRequest) -> bool:
    # Going back in history asks through htmx as well, and needs the page.
    return bool(request.htmx) and not request.htmx.history_restore_request


def _stream_address(run: Run, request: AuthedRequest) -> str:
    return tickets.stream_path(run_id=run.public_id, user_id=request.user.public_id)

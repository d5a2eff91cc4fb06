"""Why a call gave no whole answer: in words, and where the documentation says more."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from usage.models import Source, UsageEvent


@dataclass(frozen=True, slots=True)
class Problem:
    """`words` say why, and what helps; `section` is the part of the page of errors that says more."""

    words: Promise
    section: str


def problem_of(event: UsageEvent) -> Problem | None:
    """None for a call that was answered."""
    if event.status < 400:
        return None
    code = event.error_code
    # What the portal refuses never reaches a backend, and the API calls both by one code.
    if event.backend:
        code = OF_BACKENDS.get(code, code)
    if event.status == 502 and event.completion_tokens:
        code = "broke_off"
    if code == "client_closed" and event.source == Source.PLAYGROUND:
        code = "run_stopped"
    if code.endswith("_budget"):
        return BUDGETS.get(code.partition("_")[0], PROBLEMS["insufficient_quota"])
    return PROBLEMS.get(code) or PROBLEMS.get(str(event.status)) or PROBLEMS["other"]


def problem_in_words(event: UsageEvent) -> str:
    """Why a call gave no whole answer, and what helps; empty for one that did."""
    problem = problem_of(event)
    return str(problem.words) if problem else ""


_HUNG_UP = Problem(_("Your program hung up before the answer was complete."), "client_closed")
_RESTARTED = Problem(_("The portal was restarted while it was answering. Try again."), "server_restarting")
_TOO_SLOW = Problem(
    _("The model’s server took too long to answer. Try again, or ask for fewer tokens."), "upstream_timeout"
)

OF_BACKENDS = {"invalid_value": "backend_refused", "rate_limit_exceeded": "backend_busy"}
BUDGETS: Mapping[str, Problem] = {
    of: Problem(words, "insufficient_quota")
    for of, words in {
        "key": _("A budget of the key is used up, or does not cover the call. It begins anew by itself."),
        "participant": _("The participant’s allowance in the cohort is used up, or does not cover the call."),
        "member": _("A budget that the organization gave the member is used up, or does not cover the call."),
        "project": _("A budget of the project is used up, or does not cover the call."),
        "organization": _("A budget of the organization is used up, or does not cover the call."),
        "plan": _("The budget of the organization’s plan is used up, or does not cover the call."),
        "model": _("What the organization may spend on this model is used up, or does not cover the call."),
    }.items()
}
"""Refusals by a budget, by whose it is."""

PROBLEMS: Mapping[str, Problem] = {
    "backend_busy": Problem(_("The model’s server is busy. Try again."), "rate_limit_exceeded"),
    "backend_refused": Problem(
        _("The model’s server did not accept the request. Check the fields and their values."), "invalid_value"
    ),
    "broke_off": Problem(_("The model’s server broke off in the middle of the answer. Try again."), "upstream"),
    "budget_unknown": Problem(
        _("The portal could not tell in time what is left of the budget. Try again."), "budget_unknown"
    ),
    "cohort_allowance": Problem(
        _(
            "The participant’s allowance in the cohort is used up, or does not cover the call. It begins anew each "
            "month until the cohort ends, and the organizer can raise it."
        ),
        "insufficient_quota",
    ),
    "client_closed": _HUNG_UP,
    "context_length_exceeded": Problem(
        _("More tokens than the model reads. Shorten the messages or the answer."), "context_length_exceeded"
    ),
    "gateway_lost": Problem(_("The portal stopped while it was answering. Try again."), "internal"),
    "gateway_stopped": _RESTARTED,
    "insufficient_quota": Problem(
        _(
            "The budget is used up, or does not cover the call. Raise it, ask for fewer tokens, or wait for the next "
            "month."
        ),
        "insufficient_quota",
    ),
    "invalid_api_key": Problem(_("The key was revoked while it was in use. Make a new one."), "invalid_api_key"),
    "invalid_value": Problem(_("A field had a value that cannot be. The error itself names it."), "invalid_value"),
    "missing_required_parameter": Problem(
        _("A required field was missing. The error itself names it."), "missing_required_parameter"
    ),
    "model_not_allowed": Problem(
        _("The key may not use this model. Its page, and that of the organization’s plan, say which ones it may."),
        "model_not_allowed",
    ),
    "model_not_found": Problem(_("No model of that name is offered to this project."), "model_not_found"),
    "rate_limit_exceeded": Problem(
        _("A limit on requests or tokens was reached. Wait, then try again."), "rate_limit_exceeded"
    ),
    "run_stopped": Problem(_("You stopped it."), "client_closed"),
    "server_is_overloaded": Problem(
        _("Every server of the model had its hands full. Try again in a moment."), "server_is_overloaded"
    ),
    "server_restarting": _RESTARTED,
    "unsupported_model": Problem(
        _("That model does not do this: it may only chat, or only give embeddings."), "unsupported_model"
    ),
    "unsupported_parameter": Problem(
        _("A field that this portal does not pass on. The error itself names it."),
        "unsupported_parameter",
    ),
    "upstream_timeout": _TOO_SLOW,
    "400": Problem(_("The request could not work as it was."), "codes"),
    "404": Problem(_("There is nothing at that address."), "unknown-url"),
    "413": Problem(_("The request was too large."), "too-large"),
    "429": Problem(_("A limit was reached. Wait, then try again."), "rate_limit_exceeded"),
    "499": _HUNG_UP,
    "500": Problem(_("The portal had a fault of its own. The request id helps its staff to find it."), "internal"),
    "502": Problem(_("The model’s server failed to answer. Try again."), "upstream"),
    "503": Problem(_("The model was too busy to answer. Try again in a moment."), "service_unavailable"),
    "504": _TOO_SLOW,
    "other": Problem(_("The call failed."), "codes"),
}

"""What an error of a run means for the person who made it, and what to do next."""

from collections.abc import Callable
from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from playground import outcomes
from playground.models import Run


@dataclass(frozen=True, slots=True)
class Explanation:
    """`detail` is the API's own sentence, in English, where it says more than we do."""

    title: str
    advice: str
    detail: str = ""
    link: str = ""
    link_label: str = ""


def explain(run: Run) -> Explanation:
    """Why a failed run failed. Every code has an answer; one without words of its own shows the API's."""
    known = _BY_CODE.get(run.error_code)
    if known is not None:
        return known(run)
    return Explanation(
        title=_("The model could not answer."),
        advice=_("Run it again. If it keeps failing, tell whoever runs this portal, with the request's id below."),
        detail=run.error_message,
    )


def _address(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


def _worker_lost(run: Run) -> Explanation:
    return Explanation(
        title=_("The worker that made this run stopped."),
        advice=_("What it had written is kept above. Nothing is repeated by itself; run it again when you like."),
    )


def _too_long(run: Run) -> Explanation:
    return Explanation(
        title=_("The answer took longer than ten minutes."),
        advice=_("What was written is kept above. Lower Max tokens, or choose a faster model."),
    )


def _rate_limited(run: Run) -> Explanation:
    return Explanation(
        title=_("A rate limit was reached."),
        advice=_("It lifts by itself: wait a moment and run it again."),
        detail=run.error_message,
    )


def _out_of_budget(run: Run) -> Explanation:
    return Explanation(
        title=_("The budget is used up."),
        advice=_("An owner of the organization can raise it; free models go on working."),
        detail=run.error_message,
        link=_address("usage:overview"),
        link_label=_("See usage"),
    )


def _no_model(run: Run) -> Explanation:
    return Explanation(
        title=_("This model is not offered, or not to you."),
        advice=_("Choose another model and run it again."),
        link=_address("catalog:models"),
        link_label=_("See models"),
    )


def _context(run: Run) -> Explanation:
    return Explanation(
        title=_("The conversation is too long for this model."),
        advice=_("Remove earlier messages, lower Max tokens, or choose a model with a larger context."),
        detail=run.error_message,
    )


def _refused_value(run: Run) -> Explanation:
    return Explanation(
        title=_("The model's server does not take a setting as it is."),
        advice=_("Clear the setting named below, or change it, and run it again."),
        detail=run.error_message,
    )


def _unavailable(run: Run) -> Explanation:
    return Explanation(
        title=_("The model's server does not answer."),
        advice=_(
            "Try again in a minute or choose another model. Whoever runs this portal sees it on the backends page."
        ),
        detail=run.error_message,
    )


def _internal(run: Run) -> Explanation:
    return Explanation(
        title=_("Something went wrong on our side."),
        advice=_("Run it again. If it keeps failing, tell whoever runs this portal, with the request's id below."),
    )


_BY_CODE: dict[str, Callable[[Run], Explanation]] = {
    outcomes.WORKER_LOST: _worker_lost,
    outcomes.TOO_LONG: _too_long,
    outcomes.INTERNAL: _internal,
    outcomes.UPSTREAM: _unavailable,
    "upstream_timeout": _unavailable,
    "service_unavailable": _unavailable,
    "rate_limit_exceeded": _rate_limited,
    "insufficient_quota": _out_of_budget,
    "model_not_found": _no_model,
    "context_length_exceeded": _context,
    "unsupported_parameter": _refused_value,
    "invalid_value": _refused_value,
}

"""What an error of a run means for the person who made it, and what to do next."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from playground import outcomes


@dataclass(frozen=True, slots=True)
class Explanation:
    """`shows_message` where the API's own sentence, in English, says more than we do. `link` is the name of a URL."""

    title: Promise
    advice: Promise
    shows_message: bool = False
    link: str = ""
    link_label: str | Promise = ""


def explanation_of(code: str) -> Explanation:
    """Why a run failed with `code`. Every code has an answer; one without words of its own shows the API's."""
    return _BY_CODE.get(code, _UNKNOWN)


_UNKNOWN = Explanation(
    title=_("The model could not answer."),
    advice=_("Run it again. If it keeps failing, tell whoever runs this portal, with the request's id below."),
    shows_message=True,
)
_UNAVAILABLE = Explanation(
    title=_("The model's server does not answer."),
    advice=_("Try again in a minute or choose another model. Whoever runs this portal sees it on the backends page."),
)
_REFUSED_VALUE = Explanation(
    title=_("The model's server does not take a setting as it is."),
    advice=_("Clear the setting named below, or change it, and run it again."),
    shows_message=True,
)
_BY_CODE = {
    outcomes.WORKER_LOST: Explanation(
        title=_("The worker that made this run stopped."),
        advice=_("What it had written is kept above. Nothing is repeated by itself; run it again when you like."),
    ),
    outcomes.TOO_LONG: Explanation(
        title=_("The answer took longer than ten minutes."),
        advice=_("What was written is kept above. Lower Max tokens, or choose a faster model."),
    ),
    outcomes.INTERNAL: Explanation(
        title=_("Something went wrong on our side."),
        advice=_("Run it again. If it keeps failing, tell whoever runs this portal, with the request's id below."),
    ),
    outcomes.PROJECT_ENDED: Explanation(
        title=_("The project of this run has ended."),
        advice=_("It ended before the run began. Choose another project and run it again."),
    ),
    outcomes.UPSTREAM: _UNAVAILABLE,
    "upstream_timeout": _UNAVAILABLE,
    "service_unavailable": _UNAVAILABLE,
    "rate_limit_exceeded": Explanation(
        title=_("A rate limit was reached."),
        advice=_("It lifts by itself: wait a moment and run it again."),
        shows_message=True,
    ),
    "insufficient_quota": Explanation(
        title=_("The budget is used up."),
        advice=_("An owner or an admin of the organization can raise it; free models go on working."),
        shows_message=True,
        link="usage:overview",
        link_label=_("See usage"),
    ),
    "model_not_found": Explanation(
        title=_("This model is not offered, or not to you."),
        advice=_("Choose another model and run it again."),
        link="catalog:models",
        link_label=_("See models"),
    ),
    "context_length_exceeded": Explanation(
        title=_("The conversation is too long for this model."),
        advice=_("Remove earlier messages, lower Max tokens, or choose a model with a larger context."),
        shows_message=True,
    ),
    "unsupported_parameter": _REFUSED_VALUE,
    "invalid_value": _REFUSED_VALUE,
}

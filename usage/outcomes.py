"""How calls ended, as pages, the log and the API are asked for it."""

import re
from collections.abc import Mapping
from http import HTTPStatus

from django.db.models import Q, TextChoices
from django.utils.translation import gettext_lazy as _

from common.errors import BUDGET_CODES, BudgetError
from usage.events import CLIENT_CLOSED

STATUS = re.compile(r"[1-5][0-9]{2}")


class Outcome(TextChoices):
    """Kinds of HTTP statuses."""

    ANSWERED = "answered", _("Answered")
    FAILED = "failed", _("Failed")
    REFUSED = "4xx", _("4xx: the request or a limit")
    BROKEN = "5xx", _("5xx: the portal or a server")
    HUNG_UP = "499", _("499: the client hung up")


OF_OUTCOME: Mapping[str, Q] = {
    Outcome.ANSWERED: Q(status__lt=400),
    Outcome.FAILED: Q(status__gte=400) & ~Q(status=CLIENT_CLOSED),
    Outcome.REFUSED: Q(status__gte=400, status__lt=500) & ~Q(status=CLIENT_CLOSED),
    Outcome.BROKEN: Q(status__gte=500),
    Outcome.HUNG_UP: Q(status=CLIENT_CLOSED),
}


def is_outcome(text: str) -> bool:
    """Whether it is an `Outcome`, or a single HTTP status."""
    return text in OF_OUTCOME or STATUS.fullmatch(text) is not None


def ended_with(outcome: str) -> Q:
    """The condition that keeps what ended so, of the ledger and of the sums that tell statuses apart."""
    return OF_OUTCOME[outcome] if outcome in OF_OUTCOME else Q(status=int(outcome))


def failed_with(code: str) -> Q:
    """The condition that keeps what failed with this error code; with the one that clients read of every budget, what
    any of them refused, which the ledger tells apart."""
    codes = [code, *BUDGET_CODES] if code == BudgetError.default_code else [code]
    # An answer has none, and PostgreSQL is to know: it keeps the failures by themselves.
    return Q(error_code__in=codes, status__gte=400)


def outcome_named(outcome: str) -> str:
    """What people read for it."""
    if outcome in OF_OUTCOME:
        return str(Outcome(outcome).label)
    try:
        return f"{outcome} {HTTPStatus(int(outcome)).phrase}"
    except ValueError:
        return outcome

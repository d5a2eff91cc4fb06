"""Why a message could not be delivered, in words."""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from common.http import Failure
from webhooks.delivery import FORBIDDEN

FAILURES: Mapping[str, Promise] = {
    Failure.TIMEOUT: _("No answer within ten seconds."),
    Failure.REFUSED: _("Nothing listens at that address."),
    Failure.UNKNOWN_HOST: _("There is no server of that name."),
    Failure.TLS: _("The server’s certificate is not valid."),
    Failure.BROKEN: _("The connection broke."),
    FORBIDDEN: _("The name leads to an address that is not on the public internet. Nothing was sent."),
}


def failure_in_words(failure: str) -> str:
    """Why there was no answer; empty when there was one."""
    return str(FAILURES[failure]) if failure else ""

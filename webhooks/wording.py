"""Why a message could not be delivered, in words."""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from common.http import Failure
from webhooks.delivery import UNREACHABLE

FAILURES: Mapping[str, Promise] = {
    Failure.TIMEOUT: _("No answer within ten seconds."),
    Failure.REFUSED: _("Nothing listens at that address."),
    Failure.TLS: _("The server’s certificate is not valid."),
    Failure.BROKEN: _("The connection broke."),
    UNREACHABLE: _(
        "The address leads to no server on the public internet at port 80 or 443. Nothing was sent. Check how it is "
        "written; for a server inside this network, ask those who run this portal to open it."
    ),
}


def failure_in_words(failure: str) -> str:
    """Why there was no answer; empty when there was one."""
    return str(FAILURES[failure]) if failure else ""

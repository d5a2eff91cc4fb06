"""A ticket opens one run's stream for a few minutes, so that following it needs neither session nor database."""

from dataclasses import dataclass

from django.core import signing

SALT = "playground.stream"
# A browser that comes back later asks for a new one; an address in a log is useless by then.
LIFETIME_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Ticket:
    run_id: str
    user_id: str


def issue(*, run_id: str, user_id: str) -> str:
    """A ticket for this run and this person. The caller has made sure that the run is theirs."""
    return signing.dumps([run_id, user_id], salt=SALT)


def stream_path(*, run_id: str, user_id: str) -> str:
    """Where the run can be followed, ticket included."""
    return f"/stream/runs/{run_id}?ticket={issue(run_id=run_id, user_id=user_id)}"


def read(text: str, *, run_id: str) -> Ticket | None:
    """The ticket in `text`, or None when it is forged, expired or for another run."""
    try:
        ticket = Ticket(*signing.loads(text, salt=SALT, max_age=LIFETIME_SECONDS))
    except (signing.BadSignature, TypeError, ValueError):
        return None
    return ticket if ticket.run_id == run_id else None

"""What is known about the request in hand, wherever the code is: for logs and the audit log."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from, and how often its client made it before. Empty outside of a request: in a task, in a
    command."""

    address: str = ""
    user_agent: str = ""
    retries: int = 0


NOWHERE = Origin()

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
current_origin: ContextVar[Origin] = ContextVar("current_origin", default=NOWHERE)

"""What is known about the request in hand, wherever the code is: today the request id, for logs and audit."""

from contextvars import ContextVar

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")

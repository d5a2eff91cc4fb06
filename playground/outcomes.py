"""What a call left behind, between the worker that made it and the row that keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from common.errors import ApiError
from playground.models import RunStatus

# Codes of ends that are the portal's own; every other code is what /v1 would have answered.
WORKER_LOST = "worker_lost"
TOO_LONG = "run_took_too_long"
INTERNAL = "internal_error"
PROJECT_ENDED = "project_ended"
UPSTREAM = "upstream_error"


@dataclass(slots=True)
class Outcome:
    """How a run ended. `text` is kept whatever the end was."""

    status: RunStatus = RunStatus.SUCCEEDED
    text: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    error_code: str = ""
    error_message: str = ""
    retry_at: datetime | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_nano: int | None = None
    is_estimated: bool = False
    first_token_at: datetime | None = None

    def fail(self, *, code: str, message: str = "", retry_after: str | None = None) -> None:
        self.status = RunStatus.FAILED
        self.error_code = code[:80]
        self.error_message = message
        if retry_after and retry_after.isdecimal():
            self.retry_at = timezone.now() + timedelta(seconds=int(retry_after))

    def fail_with(self, error: ApiError) -> None:
        code = error.code or (UPSTREAM if error.status in (502, 504) else error.kind)
        self.fail(code=code, message=error.message, retry_after=error.headers.get("Retry-After"))

    def fail_with_frame(self, error: Mapping[str, Any]) -> None:
        """The backend failed after its first words: the stream carries the error as its last frame."""
        self.fail(code=str(error.get("code") or UPSTREAM), message=str(error.get("message") or ""))

"""A run of the playground: the user's own document, kept until they delete it."""

from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import Project, User
from common.ids import new_id

TITLE_LENGTH = 120


def run_id() -> str:
    return new_id("run")


class RunStatus(models.TextChoices):
    PENDING = "pending", _("Waiting for a worker")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Finished")
    STOPPED = "stopped", _("Stopped")
    FAILED = "failed", _("Failed")


class RunQuerySet(models.QuerySet["Run"]):
    def of(self, user: User) -> Self:
        """The user's own runs: nobody else ever sees one, whatever project it was made in."""
        return self.filter(user=user)

    def for_history(self, user: User) -> Self:
        """What a list shows, without the texts, which can be long."""
        return self.of(user).defer("messages", "parameters", "output", "reasoning")

    def matching(self, text: str) -> Self:
        """Those whose title, the beginning of their prompt, or whose model holds `text`."""
        return self.filter(models.Q(title__icontains=text) | models.Q(model_name__icontains=text))

    def unfinished(self) -> Self:
        return self.filter(status__in=[RunStatus.PENDING, RunStatus.RUNNING])

    def waiting_since(self, moment: datetime) -> Self:
        """Runs no worker took although their message was sent before `moment`."""
        return self.filter(status=RunStatus.PENDING, sent_at__lt=moment)

    def without_heartbeat_since(self, moment: datetime) -> Self:
        """Runs whose worker has said nothing since `moment`."""
        return self.filter(status=RunStatus.RUNNING, heartbeat_at__lt=moment)


class Run(models.Model):
    """One prompt sent to one model. The row exists before its Celery message, and outlives a lost one."""

    public_id = models.CharField(max_length=40, unique=True, default=run_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="runs")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    title = models.CharField(_("title"), max_length=TITLE_LENGTH, blank=True)
    model_name = models.CharField(_("model"), max_length=200)
    messages = models.JSONField(_("messages"))
    parameters = models.JSONField(_("parameters"), default=dict)
    status = models.CharField(_("status"), max_length=10, choices=RunStatus, default=RunStatus.PENDING)
    output = models.TextField(_("output"), blank=True)
    reasoning = models.TextField(_("reasoning"), blank=True)
    error_code = models.CharField(_("error"), max_length=80, blank=True)
    error_message = models.TextField(blank=True)
    retry_at = models.DateTimeField(null=True)
    finish_reason = models.CharField(max_length=40, blank=True)
    request_id = models.CharField(_("request"), max_length=40, blank=True)
    prompt_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    cost_nano = models.BigIntegerField(null=True)
    is_estimated = models.BooleanField(_("estimated"), default=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    sent_at = models.DateTimeField(default=timezone.now, editable=False)
    worker = models.CharField(max_length=40, blank=True, editable=False)
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    stop_requested_at = models.DateTimeField(null=True)
    first_token_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        indexes = [
            models.Index(fields=["user", "-created_at", "-id"], name="run_history"),
            models.Index(fields=["created_at"], condition=models.Q(status__in=["pending", "running"]), name="run_open"),
        ]

    def __str__(self) -> str:
        return self.title or self.public_id

    @property
    def is_finished(self) -> bool:
        return self.status in {RunStatus.SUCCEEDED, RunStatus.STOPPED, RunStatus.FAILED}

    @property
    def is_pending(self) -> bool:
        return self.status == RunStatus.PENDING

    @property
    def request_body(self) -> dict[str, Any]:
        """The request as the gateway's library receives it, and as the code samples show it."""
        return request_body(model=self.model_name, messages=self.messages, parameters=self.parameters)

    @property
    def total_tokens(self) -> int | None:
        if self.completion_tokens is None:
            return None
        return (self.prompt_tokens or 0) + self.completion_tokens

    @property
    def queue_ms(self) -> float | None:
        return _milliseconds_between(self.created_at, self.started_at)

    @property
    def first_token_ms(self) -> float | None:
        """From the start of the call to the first piece of text, as measured where the call was made."""
        return _milliseconds_between(self.started_at, self.first_token_at)

    @property
    def total_ms(self) -> float | None:
        return _milliseconds_between(self.created_at, self.finished_at)

    @property
    def tokens_per_second(self) -> float | None:
        """Speed of the writing alone: a single token, or one burst, has none worth showing."""
        milliseconds = _milliseconds_between(self.first_token_at, self.finished_at)
        if not milliseconds or not self.completion_tokens or self.completion_tokens < 2:
            return None
        return (self.completion_tokens - 1) * 1000 / milliseconds


def request_body(*, model: str, messages: list[dict[str, str]], parameters: dict[str, Any]) -> dict[str, Any]:
    """The chat completion a run makes. It streams, so that text is shown as it is written."""
    return {"model": model, "messages": messages, **parameters, "stream": True}


def _milliseconds_between(start: datetime | None, end: datetime | None) -> float | None:
    # Clocks of two machines may disagree by a little; no time is negative.
    return max(0.0, (end - start).total_seconds() * 1000) if start and end else None

"""The ledger: one event per call, and the sums that pages read."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from common.ids import uuid7


class Source(models.TextChoices):
    """What made the call."""

    KEY = "key", _("API key")
    PLAYGROUND = "playground", _("Playground")
    BATCH = "batch", _("Batch")


class UsageEvent(models.Model):
    """One metered call: counts and times, never what was written. Rows are only ever inserted.

    `id` is fixed at admission, so that an event delivered twice is inserted once. Public identifiers rather than
    foreign keys: a row says what happened and stays when the key, the project or the person is gone.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(_("at"))
    request_id = models.CharField(_("request"), max_length=40, db_index=True)
    source = models.CharField(_("source"), max_length=12, choices=Source)
    organization_id = models.CharField(_("organization"), max_length=40)
    project_id = models.CharField(_("project"), max_length=40)
    key_id = models.CharField(_("key"), max_length=40, blank=True)
    user_id = models.CharField(_("user"), max_length=40, blank=True)
    model = models.CharField(_("model"), max_length=200)
    backend = models.CharField(_("backend"), max_length=60, blank=True)
    endpoint = models.CharField(_("endpoint"), max_length=40)
    status = models.PositiveSmallIntegerField(_("HTTP status"))
    error_code = models.CharField(_("error"), max_length=60, blank=True)
    is_streamed = models.BooleanField(_("streamed"), default=False)
    is_estimated = models.BooleanField(
        _("estimated"), default=False, help_text=_("The server gave no final count, so the tokens are ours.")
    )
    prompt_tokens = models.PositiveIntegerField(_("input tokens"), default=0)
    cached_tokens = models.PositiveIntegerField(_("of them cached"), default=0)
    completion_tokens = models.PositiveIntegerField(_("output tokens"), default=0)
    cost_nano = models.BigIntegerField(_("cost"), default=0)
    latency_ms = models.PositiveIntegerField(_("duration in milliseconds"), default=0)
    first_token_ms = models.PositiveIntegerField(_("first token after milliseconds"), null=True)

    class Meta:
        verbose_name = _("usage event")
        verbose_name_plural = _("usage events")
        indexes = [
            models.Index(fields=["project_id", "-at"], name="event_by_project"),
            # Failures are few and looked for most: without it the walk to them goes through all that was answered.
            models.Index(fields=["project_id", "-at"], condition=models.Q(status__gte=400), name="failure_by_project"),
        ]

    def __str__(self) -> str:
        return self.request_id


CELL = ["project_id", "bucket_at", "key_id", "user_id", "model", "endpoint", "source", "organization_id"]
"""What a row of sums is of, in the order in which its index finds it."""


class UsageRollup(models.Model):
    """Sums of one bucket of time for one combination of who, what and how."""

    bucket_at = models.DateTimeField(_("from"))
    source = models.CharField(max_length=12, choices=Source)
    organization_id = models.CharField(max_length=40)
    project_id = models.CharField(max_length=40)
    key_id = models.CharField(max_length=40, blank=True)
    user_id = models.CharField(max_length=40, blank=True)
    model = models.CharField(max_length=200)
    endpoint = models.CharField(max_length=40)
    requests = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    cost_nano = models.BigIntegerField(default=0)
    # Only of calls that reached a model's server: what the portal refuses is no model's time.
    latency_ms_sum = models.BigIntegerField(default=0)
    # In the database too: a worker of the version before goes on for a while and knows no such column.
    latency_count = models.BigIntegerField(default=0, db_default=0)
    first_token_ms_sum = models.BigIntegerField(default=0)
    first_token_count = models.BigIntegerField(default=0)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True


class UsageRollup5Min(UsageRollup):
    """Five-minute sums, kept for 35 days."""

    class Meta:
        verbose_name = _("five-minute sum")
        verbose_name_plural = _("five-minute sums")
        constraints = [models.UniqueConstraint(fields=CELL, name="one_row_per_5min_cell")]


class UsageRollup15Min(UsageRollup):
    """Quarter-hour sums, kept: every time zone's days are made of them."""

    class Meta:
        verbose_name = _("quarter-hour sum")
        verbose_name_plural = _("quarter-hour sums")
        constraints = [models.UniqueConstraint(fields=CELL, name="one_row_per_15min_cell")]

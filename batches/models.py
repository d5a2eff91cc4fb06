"""Files of projects, and the batches that are made of them. What was asked and answered is in files alone."""

from datetime import datetime
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import Project
from apikeys.models import ApiKey
from common.ids import new_id


def file_id() -> str:
    return new_id("file", joint="-")


def batch_id() -> str:
    return new_id("batch")


class Purpose(models.TextChoices):
    """What a file is for, in OpenAI's words."""

    ASSISTANTS = "assistants", _("Assistants")
    BATCH = "batch", _("Input of a batch")
    BATCH_OUTPUT = "batch_output", _("Output of a batch")
    EVALS = "evals", _("Evaluations")
    FINE_TUNE = "fine-tune", _("Fine-tuning")
    USER_DATA = "user_data", _("Data")
    VISION = "vision", _("Images")


class Owned(models.Model):
    """What a key made in its project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, related_name="+")
    # Public id of the key's maker when that person does not see what others have there: see Place.
    participant = models.CharField(max_length=40, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        abstract = True


class InStorage(models.Model):
    """A row that stands for something in the storage: the row goes before it, never after."""

    file = models.FileField(_("file"), max_length=200)

    class Meta:
        abstract = True

    @property
    def stored_as(self) -> str:
        """Its name in the storage."""
        return str(self.file.name)


class StoredFileQuerySet(models.QuerySet["StoredFile"]):
    def unexpired(self) -> Self:
        return self.exclude(expires_at__lte=timezone.now())

    def expired(self) -> Self:
        """Those whose time is over, but for the input of a batch that is not yet done."""
        inputs = Batch.objects.unfinished().filter(input_file_id=models.OuterRef("public_id"))
        return self.filter(~models.Exists(inputs), expires_at__lte=timezone.now())


class StoredFile(InStorage, Owned):
    """A file of a project."""

    public_id = models.CharField(max_length=40, unique=True, default=file_id, editable=False)
    filename = models.CharField(_("name"), max_length=255)
    purpose = models.CharField(_("purpose"), max_length=20, choices=Purpose)
    size_bytes = models.BigIntegerField(_("size in bytes"))
    expires_at = models.DateTimeField(_("expires at"), null=True)

    objects = StoredFileQuerySet.as_manager()

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        indexes = [
            models.Index(fields=["project", "-id"], name="file_by_project"),
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="file_by_expiry"),
        ]

    def __str__(self) -> str:
        return self.public_id


class BatchStatus(models.TextChoices):
    VALIDATING = "validating", _("Being checked")
    FAILED = "failed", _("Failed")
    IN_PROGRESS = "in_progress", _("In progress")
    FINALIZING = "finalizing", _("Being finished")
    COMPLETED = "completed", _("Completed")
    EXPIRED = "expired", _("Expired")
    CANCELLING = "cancelling", _("Being cancelled")
    CANCELLED = "cancelled", _("Cancelled")


UNFINISHED = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS, BatchStatus.FINALIZING, BatchStatus.CANCELLING)


class BatchQuerySet(models.QuerySet["Batch"]):
    def unfinished(self) -> Self:
        return self.filter(status__in=UNFINISHED)

    def unclaimed(self, *, heard_before: datetime) -> Self:
        """Unfinished ones that no worker has in hand, or whose worker was last heard of before that moment."""
        return self.unfinished().filter(Q(claim="") | Q(heartbeat_at__lt=heard_before))


class Batch(Owned):
    """Many calls made of the lines of a file. Rows say how far it is; prompts and answers are in files.

    Files are named by their public ids: what a batch was made of is still told when the file is gone.
    """

    public_id = models.CharField(max_length=40, unique=True, default=batch_id, editable=False)
    endpoint = models.CharField(_("endpoint"), max_length=40)
    model_name = models.CharField(_("model"), max_length=200, blank=True)
    input_file_id = models.CharField(max_length=40)
    output_file_id = models.CharField(max_length=40, blank=True)
    error_file_id = models.CharField(max_length=40, blank=True)
    output_seconds = models.PositiveIntegerField(null=True)
    metadata = models.JSONField(null=True)
    status = models.CharField(_("status"), max_length=12, choices=BatchStatus, default=BatchStatus.VALIDATING)
    # What it is to be once its files are put together.
    ends_as = models.CharField(max_length=12, choices=BatchStatus, default=BatchStatus.COMPLETED, editable=False)
    errors = models.JSONField(default=list)
    total = models.PositiveIntegerField(_("lines"), default=0)
    completed = models.PositiveIntegerField(_("answered"), default=0)
    failed = models.PositiveIntegerField(_("failed"), default=0)
    prompt_tokens = models.BigIntegerField(_("input tokens"), default=0)
    cached_tokens = models.BigIntegerField(_("of them cached"), default=0)
    completion_tokens = models.BigIntegerField(_("output tokens"), default=0)
    expires_at = models.DateTimeField(_("expires at"))
    in_progress_at = models.DateTimeField(null=True)
    finalizing_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    expired_at = models.DateTimeField(null=True)
    cancelling_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    # A worker's hold on it: whoever claims it later has another, and what is written under an older one is refused.
    claim = models.CharField(max_length=40, blank=True, editable=False)
    heartbeat_at = models.DateTimeField(default=timezone.now, editable=False)
    sent_at = models.DateTimeField(default=timezone.now, editable=False)
    faults = models.PositiveSmallIntegerField(default=0, editable=False)

    objects = BatchQuerySet.as_manager()

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")
        indexes = [
            models.Index(fields=["project", "-id"], name="batch_by_project"),
            models.Index(fields=["sent_at"], condition=Q(status__in=UNFINISHED), name="batch_open"),
            models.Index(fields=["input_file_id"], condition=Q(status__in=UNFINISHED), name="batch_open_by_input"),
        ]

    def __str__(self) -> str:
        return self.public_id


class BatchPart(InStorage):
    """Some lines that are done, written down together. A line stands in one part only: the batch's claim sees to it."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="parts")
    is_errors = models.BooleanField()
    lines = ArrayField(models.PositiveIntegerField())

    class Meta:
        verbose_name = _("part of a batch")
        verbose_name_plural = _("parts of batches")


class MadeOnce(Owned):
    """What was answered when something was made under an `Idempotency-Key`: see `batches.once`."""

    idempotency_key = models.CharField(max_length=255)
    digest = models.CharField(max_length=64)
    # JSON as it was sent: a column of JSON would change the order of its names.
    answer = models.TextField(blank=True)

    class Meta:
        verbose_name = _("idempotency key")
        verbose_name_plural = _("idempotency keys")
        constraints = [models.UniqueConstraint(fields=["project", "participant", "idempotency_key"], name="made_once")]
        indexes = [models.Index(fields=["created_at"], name="made_once_by_age")]

    def __str__(self) -> str:
        return self.idempotency_key

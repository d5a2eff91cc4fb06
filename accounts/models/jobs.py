"""Work on all that is held about a person."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.people import User
from common.ids import new_id


def export_id() -> str:
    return new_id("export")


def erasure_id() -> str:
    return new_id("erasure")


class JobState(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    RUNNING = "running", _("Under way")
    DONE = "done", _("Done")
    FAILED = "failed", _("Failed")


class AccountJob(models.Model):
    """Work on all that is held about a person: a row first, its message to a worker only a hint."""

    state = models.CharField(_("state"), max_length=10, choices=JobState, default=JobState.WAITING)
    done = models.PositiveSmallIntegerField(_("steps done"), default=0)
    total = models.PositiveSmallIntegerField(_("steps"), default=0)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    heartbeat_at = models.DateTimeField(_("last sign of life"), default=timezone.now)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    finished_at = models.DateTimeField(_("finished at"), null=True)

    class Meta:
        abstract = True

    @property
    def is_under_way(self) -> bool:
        return self.state in {JobState.WAITING, JobState.RUNNING}


class AccountExport(AccountJob):
    """A copy of everything held about a person, for a day."""

    public_id = models.CharField(max_length=40, unique=True, default=export_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="exports")
    file = models.FileField(_("file"), upload_to="exports/")
    expires_at = models.DateTimeField(_("expires at"), null=True)

    class Meta:
        verbose_name = _("account export")
        verbose_name_plural = _("account exports")

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_ready(self) -> bool:
        return self.state == JobState.DONE and self.expires_at is not None and self.expires_at > timezone.now()


class AccountErasure(AccountJob):
    """That an account is being erased, or was. Holds nothing about the person."""

    public_id = models.CharField(max_length=40, unique=True, default=erasure_id, editable=False)
    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="erasure")

    class Meta:
        verbose_name = _("account erasure")
        verbose_name_plural = _("account erasures")

    def __str__(self) -> str:
        return self.public_id

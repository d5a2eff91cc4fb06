"""The audit log, and what of it can be forgotten."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.people import User
from common.ids import new_id, uuid7


def person_token() -> str:
    return new_id("person")


class AuditPerson(models.Model):
    """Who a token in the audit log stands for, until they are erased."""

    token = models.CharField(max_length=40, unique=True, default=person_token, editable=False)
    user = models.OneToOneField(User, on_delete=models.SET_NULL, null=True, related_name="audit_person")

    class Meta:
        verbose_name = _("person in the audit log")
        verbose_name_plural = _("people in the audit log")

    def __str__(self) -> str:
        return self.token


class AuditEvent(models.Model):
    """An act that matters to security. Rows are only ever inserted; PostgreSQL refuses to change or delete one.

    Identifiers instead of foreign keys: a row stays when what it speaks of is gone. The table is partitioned by month
    and its key is `(id, at)`; what is older than the log is kept goes with its whole month.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(_("at"), default=timezone.now, editable=False)
    action = models.CharField(_("action"), max_length=60)
    actor = models.CharField(_("by"), max_length=40, blank=True)
    organization_id = models.CharField(_("organization"), max_length=40, blank=True)
    target_kind = models.CharField(_("kind of target"), max_length=40)
    target_id = models.CharField(_("target"), max_length=60)
    target_label = models.CharField(_("name of the target"), max_length=200, blank=True)
    before = models.JSONField(_("before"), default=dict)
    after = models.JSONField(_("after"), default=dict)
    request_id = models.CharField(_("request"), max_length=40, blank=True)

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit log")
        indexes = [
            models.Index(fields=["organization_id", "-at", "-id"], name="audit_by_organization"),
            models.Index(fields=["actor", "-at", "-id"], name="audit_by_actor"),
            models.Index(fields=["target_id", "-at", "-id"], name="audit_by_target"),
            models.Index(fields=["-at", "-id"], name="audit_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.action} · {self.target_id}"


class AuditSeal(models.Model):
    """Proof that an event of the audit log is as it was written, and in its place.

    PostgreSQL adds it when the event is committed. `hash` is made of the event and of the hash before it in its month,
    so that one who alters, adds or takes away a row must alter every later seal. The key is `(month, number)`.
    """

    event_id = models.UUIDField(primary_key=True)
    month = models.DateField(_("month"))
    number = models.BigIntegerField(_("number in the month"))
    hash = models.CharField(max_length=64)

    class Meta:
        verbose_name = _("seal in the audit log")
        verbose_name_plural = _("seals in the audit log")

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} · {self.number}"


class AuditOrigin(models.Model):
    """Where an act in the audit log came from: kept apart, so that it can be forgotten."""

    event_id = models.UUIDField(primary_key=True)
    person = models.CharField(max_length=40, db_index=True)
    address = models.GenericIPAddressField(_("address"))
    user_agent = models.CharField(_("program"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("origin in the audit log")
        verbose_name_plural = _("origins in the audit log")

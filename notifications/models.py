"""What people are told: one unread row for each recipient and object, however much happens to it meanwhile."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from common.ids import new_id


def notification_id() -> str:
    return new_id("ntf")


class NotificationQuerySet(models.QuerySet["Notification"]):
    def for_list(self, user: User) -> Self:
        return self.filter(recipient=user)

    def unread(self, user: User) -> Self:
        return self.filter(recipient=user, read_at=None)

    def waiting_for_mail(self) -> Self:
        return self.filter(mail_due_at__lte=timezone.now()).order_by("mail_due_at")


class Notification(models.Model):
    """Something that happened to what the recipient wrote or watches.

    `events` names each thing that happened and who did it, so that what the recipient may no longer read can be left
    out when the row is shown or mailed. Only the latest are kept; `count` counts them all.
    """

    KEPT_EVENTS = 20

    public_id = models.CharField(max_length=40, unique=True, default=notification_id, editable=False)
    recipient = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications")
    kind = models.CharField(_("kind"), max_length=40)
    group = models.CharField(_("group"), max_length=40)
    object_id = models.CharField(_("object"), max_length=40)
    title = models.CharField(_("title"), max_length=300)
    detail = models.TextField(_("detail"), blank=True)
    url = models.CharField(_("address"), max_length=500)
    events = models.JSONField(_("events"), default=list)
    count = models.PositiveIntegerField(_("number of events"), default=1)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("updated at"), default=timezone.now, editable=False)
    read_at = models.DateTimeField(_("read at"), null=True, blank=True)
    mail_due_at = models.DateTimeField(_("mail due at"), null=True, blank=True)
    mail_attempts = models.PositiveSmallIntegerField(_("attempts to mail"), default=0)
    mailed_at = models.DateTimeField(_("mailed at"), null=True, blank=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        constraints = [
            models.UniqueConstraint(
                fields=["recipient", "group", "object_id"],
                condition=Q(read_at=None),
                name="one_unread_notification_per_object",
            ),
        ]
        indexes = [
            models.Index(fields=["recipient", "-updated_at", "-id"], name="notification_list"),
            models.Index(fields=["mail_due_at"], condition=Q(mail_due_at__isnull=False), name="notification_mail"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} · {self.title}"

    @property
    def is_unread(self) -> bool:
        return self.read_at is None


class MailPreference(models.Model):
    """Whether a person wants notifications by mail. No row means yes."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mail_preference")
    wants_mail = models.BooleanField(_("send notifications by mail"), default=True)

    class Meta:
        verbose_name = _("mail preference")
        verbose_name_plural = _("mail preferences")

    def __str__(self) -> str:
        return str(self.user)

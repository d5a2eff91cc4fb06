"""Endpoints of organizations, what happened, and what became of telling them."""

from typing import Self

from django.db import models
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, User
from common.fields import EncryptedTextField
from common.ids import new_id


def endpoint_id() -> str:
    return new_id("wh")


def message_id() -> str:
    return new_id("msg")


def delivery_id() -> str:
    return new_id("dlv")


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    def matching(self, text: str) -> Self:
        """Those whose address, description or chosen events hold `text`."""
        # As text a list of names is still only names and marks between them.
        return self.annotate(events_text=Cast("event_types", models.TextField())).filter(
            models.Q(url__icontains=text)
            | models.Q(description__icontains=text)
            | models.Q(events_text__icontains=text)
        )

    def listening_to(self, organization: Organization, event_type: str) -> Self:
        """Endpoints that are told of an event of this type. No types chosen means all."""
        wanted = models.Q(event_types=[]) | models.Q(event_types__contains=[event_type])
        return self.filter(wanted, organization=organization, disabled_at=None)


class Endpoint(models.Model):
    """An address of an organization's that is told what happens there."""

    class DisabledBecause(models.TextChoices):
        SOMEONE = "someone", _("Switched off")
        GONE = "gone", _("The server says that it is gone for good (410)")
        FAILING = "failing", _("Nothing could be delivered for days")

    public_id = models.CharField(max_length=40, unique=True, default=endpoint_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="webhook_endpoints")
    url = models.URLField(_("address"), max_length=500)
    description = models.CharField(_("description"), max_length=200, blank=True)
    event_types = models.JSONField(_("events"), default=list, blank=True, help_text=_("None chosen means all."))
    secret = EncryptedTextField(editable=False)
    # Signs as well until then, so that a receiver can change over without losing a message.
    old_secret = EncryptedTextField(editable=False, blank=True)
    old_secret_until = models.DateTimeField(null=True, editable=False)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("created by")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    disabled_at = models.DateTimeField(_("switched off at"), null=True, blank=True, editable=False)
    disabled_because = models.CharField(max_length=10, choices=DisabledBecause, blank=True, editable=False)
    failing_since = models.DateTimeField(_("failing since"), null=True, blank=True, editable=False)

    objects = EndpointQuerySet.as_manager()

    class Meta:
        verbose_name = _("webhook endpoint")
        verbose_name_plural = _("webhook endpoints")

    def __str__(self) -> str:
        return self.url

    @property
    def is_enabled(self) -> bool:
        return self.disabled_at is None

    @property
    def signing_secrets(self) -> list[str]:
        """The secrets that sign now, the newest first."""
        is_changing = self.old_secret_until is not None and self.old_secret_until > timezone.now()
        return [self.secret, self.old_secret] if is_changing else [self.secret]


class Message(models.Model):
    """Something that happened in an organization, as it is told: one body for every endpoint and every attempt."""

    public_id = models.CharField(max_length=40, unique=True, default=message_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="webhook_messages")
    event_type = models.CharField(_("event"), max_length=60)
    data = models.JSONField(_("data"))
    # What may happen once only in a while, such as a budget reached this month, is told once.
    once = models.CharField(max_length=100, blank=True, editable=False)
    created_at = models.DateTimeField(_("at"), default=timezone.now, editable=False, db_index=True)

    class Meta:
        verbose_name = _("webhook message")
        verbose_name_plural = _("webhook messages")
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "once"], condition=~models.Q(once=""), name="a_message_told_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.event_type} · {self.public_id}"

    @property
    def body(self) -> dict[str, object]:
        return {"type": self.event_type, "timestamp": self.created_at.isoformat(), "data": self.data}


class DeliveryState(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    DELIVERED = "delivered", _("Delivered")
    FAILED = "failed", _("Failed")


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def for_log(self, endpoint: Endpoint) -> Self:
        return self.filter(endpoint=endpoint).select_related("message")

    def matching(self, text: str) -> Self:
        """Those of an event whose name holds `text`, or with this id."""
        return self.filter(
            models.Q(message__event_type__icontains=text) | models.Q(public_id=text) | models.Q(message__public_id=text)
        )

    def due(self) -> Self:
        return self.filter(due_at__lte=timezone.now()).order_by("due_at")


class Delivery(models.Model):
    """One message on its way to one endpoint. `due_at` is when the next attempt is made; null when none is."""

    public_id = models.CharField(max_length=40, unique=True, default=delivery_id, editable=False)
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="deliveries")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(_("state"), max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    created_at = models.DateTimeField(_("at"), default=timezone.now, editable=False)
    due_at = models.DateTimeField(_("next attempt"), null=True, default=timezone.now, editable=False)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    last_attempt_at = models.DateTimeField(_("last attempt"), null=True, editable=False)
    status = models.PositiveSmallIntegerField(_("HTTP status"), null=True, editable=False)
    failure = models.CharField(_("failure"), max_length=20, blank=True, editable=False)
    answer = models.CharField(_("answer"), max_length=1024, blank=True, editable=False)
    milliseconds = models.PositiveIntegerField(_("answered in milliseconds"), null=True, editable=False)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="delivery_due"),
            models.Index(fields=["endpoint", "-created_at", "-id"], name="delivery_log"),
        ]

    def __str__(self) -> str:
        return self.public_id

"""API keys. The secret is shown once; what is kept is a keyed hash, the prefix and the last four characters."""

from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import Project, ServiceAccount, User
from accounts.roles import Right, Rights
from common.ids import new_id
from common.limits import Limited


def key_id() -> str:
    return new_id("key")


class KeyKind(models.TextChoices):
    """What a key is for; each kind has a prefix of its own."""

    PROJECT = "project", _("Project key")
    SERVICE = "service", _("Service key")
    MANAGEMENT = "management", _("Management key")


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self) -> Self:
        return self.filter(revoked_at=None)

    def for_keys_page(self, project: Project, user: User, rights: Rights) -> Self:
        """The project's keys that a user with these rights in it sees: all, or their own."""
        keys = self.filter(project=project).select_related("created_by")
        return keys if Right.SEE_KEYS in rights else keys.filter(created_by=user)


class ApiKey(Limited):
    """A key of a project. `digest` is HMAC-SHA256 of the whole secret under the pepper named by `pepper_version`."""

    public_id = models.CharField(max_length=40, unique=True, default=key_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="api_keys")
    kind = models.CharField(_("kind"), max_length=10, choices=KeyKind, default=KeyKind.PROJECT, editable=False)
    service_account = models.ForeignKey(
        ServiceAccount, on_delete=models.CASCADE, null=True, blank=True, editable=False, related_name="api_keys"
    )
    name = models.CharField(_("name"), max_length=80)
    prefix = models.CharField(_("prefix"), max_length=20, editable=False)
    last4 = models.CharField(_("last four characters"), max_length=4, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    pepper_version = models.PositiveSmallIntegerField(editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("created by")
    )
    # One per opened form, so that a second click or a reload makes no second key.
    submission = models.CharField(max_length=40, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    revoked_by = models.ForeignKey(
        User,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("revoked by"),
    )

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [
            models.UniqueConstraint(
                fields=["created_by", "submission"], condition=~models.Q(submission=""), name="a_form_makes_one_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint})"

    @property
    def hint(self) -> str:
        """What identifies the key on a page without being any use to a thief."""
        return f"{self.prefix}…{self.last4}"

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None

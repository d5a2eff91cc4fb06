"""People, how they sign in, and the mail they were sent."""

from typing import Any, ClassVar

from allauth.mfa.models import Authenticator
from django.contrib.auth.base_user import BaseUserManager
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from common.ids import new_id


def user_id() -> str:
    return new_id("user")


def shown_name(name: str, public_id: str) -> str:
    """How a person is called, in the language of who reads it."""
    return name or _("Developer %(id)s") % {"id": public_id[-6:]}


class UserManager(BaseUserManager["User"]):
    """Makes users by e-mail address; there is no user name."""

    def create_user(self, email: str, password: str | None = None, **extra: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> "User":
        return self.create_user(email, password, **{**extra, "is_staff": True, "is_superuser": True})


class User(AbstractUser):
    """A person. `name` is what others read.

    The e-mail address signs in; nobody else is shown it but those who manage the people of an organization they joined.
    """

    # Setting them to None is how Django drops inherited fields; its type stubs do not allow for it.
    username = None  # type: ignore[assignment]
    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    public_id = models.CharField(max_length=40, unique=True, default=user_id, editable=False)
    email = models.EmailField(_("e-mail address"), unique=True)
    name = models.CharField(_("name"), max_length=80, blank=True)
    language = models.CharField(_("language of mail"), max_length=10, blank=True)
    suspended_at = models.DateTimeField(_("suspended at"), null=True, blank=True, editable=False)
    is_sample = models.BooleanField(_("sample data"), default=False, editable=False)
    # Where their next session begins.
    last_project = models.ForeignKey(
        "accounts.Project", on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    # What is left of an account then only holds together what others rely on: threads, sums, the log of moderation.
    erased_at = models.DateTimeField(_("erased at"), null=True, blank=True, editable=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        # For lists of people by name. In capitals, as `icontains` compares: what PostgreSQL knows of the index tells it
        # whether a search finds nearly everybody, so that it may stop after a page, or nearly nobody.
        indexes = [models.Index(Upper("name"), name="user_by_name")]

    def __str__(self) -> str:
        return self.display_name

    @property
    def display_name(self) -> str:
        """The name others read; never the address, which is private."""
        if self.erased_at:
            return str(_("Deleted user"))
        return shown_name(self.name, self.public_id)

    def get_full_name(self) -> str:
        return self.display_name

    def get_short_name(self) -> str:
        return self.display_name

    @property
    def is_suspended(self) -> bool:
        return self.suspended_at is not None


class SecondFactor(Authenticator):  # type: ignore[misc]  # allauth has no types
    """What a person confirms a sign-in with. allauth keeps it; here it has a name that can be translated."""

    class Meta:
        proxy = True
        verbose_name = _("second factor")
        verbose_name_plural = _("second factors")

    def __str__(self) -> str:
        return f"{self.user} · {self.get_type_display()}"


class OperatorInvitation(models.Model):
    """The one-time link with which the operator makes the first staff account. Only its hash is kept."""

    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("operator invitation")
        verbose_name_plural = _("operator invitations")


class KeptMail(models.Model):
    """A mail that was not sent because no mail server is configured; people read theirs on a page, staff read all."""

    created_at = models.DateTimeField(_("at"), default=timezone.now, editable=False, db_index=True)
    # Whose address it was when the mail was sent: the next holder of an address must not read what came before.
    user = models.ForeignKey(
        User, on_delete=models.CASCADE, null=True, editable=False, related_name="+", verbose_name=_("user")
    )
    recipient = models.EmailField(_("to"), db_index=True)
    subject = models.CharField(_("subject"), max_length=300)
    body = models.TextField(_("text"))

    class Meta:
        verbose_name = _("kept mail")
        verbose_name_plural = _("kept mail")

    def __str__(self) -> str:
        return self.subject

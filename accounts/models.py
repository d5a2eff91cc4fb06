"""People, the organizations they work in, and the projects that hold keys and usage."""

from typing import Any, ClassVar, Self

from django.contrib.auth.base_user import BaseUserManager
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from common.ids import new_id


def user_id() -> str:
    return new_id("user")


def organization_id() -> str:
    return new_id("org")


def project_id() -> str:
    return new_id("proj")


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
    """A person. The e-mail address signs in and is never shown to others; `name` is what others read."""

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

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")

    def __str__(self) -> str:
        return self.display_name

    @property
    def display_name(self) -> str:
        """The name others read; never the address, which is private."""
        return self.name or _("Developer %(id)s") % {"id": self.public_id[-6:]}

    def get_full_name(self) -> str:
        return self.display_name

    def get_short_name(self) -> str:
        return self.display_name

    @property
    def is_suspended(self) -> bool:
        return self.suspended_at is not None


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def for_member(self, user: User) -> Self:
        """Organizations the user belongs to, the personal one first."""
        return self.filter(memberships__user=user).order_by("-is_personal", "name", "pk")


class Organization(models.Model):
    """Who pays and who is answerable: a personal one is made at sign-up, others are shared."""

    public_id = models.CharField(max_length=40, unique=True, default=organization_id, editable=False)
    name = models.CharField(_("name"), max_length=80)
    is_personal = models.BooleanField(_("personal"), default=False)
    is_sample = models.BooleanField(_("sample data"), default=False, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    members = models.ManyToManyField(User, through="Membership", related_name="organizations")

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        verbose_name = _("organization")
        verbose_name_plural = _("organizations")

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    OWNER = "owner", _("Owner")
    ADMIN = "admin", _("Admin")
    MEMBER = "member", _("Member")
    VIEWER = "viewer", _("Viewer")


class Membership(models.Model):
    """A person's place in an organization."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=10, choices=Role, default=Role.MEMBER)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="one_membership_per_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.organization}"


class ProjectQuerySet(models.QuerySet["Project"]):
    def for_member(self, user: User) -> Self:
        """Projects of every organization the user belongs to, the personal organization's first."""
        return (
            self.filter(organization__memberships__user=user)
            .select_related("organization")
            .order_by("-organization__is_personal", "pk")
        )


class Project(models.Model):
    """What keys and usage belong to, inside one organization."""

    public_id = models.CharField(max_length=40, unique=True, default=project_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="projects")
    name = models.CharField(_("name"), max_length=80)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="a_project_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name


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
    recipient = models.EmailField(_("to"), db_index=True)
    subject = models.CharField(_("subject"), max_length=300)
    body = models.TextField(_("text"))

    class Meta:
        verbose_name = _("kept mail")
        verbose_name_plural = _("kept mail")

    def __str__(self) -> str:
        return self.subject

"""The ways into an organization: invitations, join links and cohorts."""

from datetime import datetime
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.organizations import Organization
from accounts.models.people import User
from accounts.models.projects import Project, ProjectMembership, last_moment
from accounts.roles import ProjectRole, Role
from common.fields import EncryptedTextField
from common.ids import new_id
from common.limits import Limited


def invitation_id() -> str:
    return new_id("inv")


def join_link_id() -> str:
    return new_id("join")


def cohort_id() -> str:
    return new_id("cohort")


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def pending(self) -> Self:
        """Neither accepted nor revoked; those that have expired can still be sent again."""
        return self.filter(accepted_at=None, revoked_at=None)

    def for_list(self, organization: Organization) -> Self:
        return (
            self.pending().filter(organization=organization).select_related("invited_by").prefetch_related("projects")
        )

    def waiting_for_mail(self) -> Self:
        return self.pending().filter(mail_due_at__lte=timezone.now()).order_by("mail_due_at")


class Invitation(models.Model):
    """An offer by mail to come into an organization. The mail's link proves the mailbox; only its hash is kept."""

    public_id = models.CharField(max_length=40, unique=True, default=invitation_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(_("e-mail address"))
    role = models.CharField(_("role"), max_length=10, choices=Role)
    projects = models.ManyToManyField(Project, blank=True, related_name="+", verbose_name=_("projects"))
    project_role = models.CharField(_("role in the projects"), max_length=12, choices=ProjectRole, blank=True)
    language = models.CharField(_("language of the mail"), max_length=10, blank=True, editable=False)
    # Null until it is mailed: the link is made by whoever writes the mail, and is nowhere else.
    token_hash = models.CharField(max_length=64, unique=True, null=True, editable=False)  # noqa: DJ001
    invited_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("invited by")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires at"), editable=False)
    mail_due_at = models.DateTimeField(_("mail due at"), null=True, blank=True, editable=False)
    mail_attempts = models.PositiveSmallIntegerField(_("attempts to mail"), default=0, editable=False)
    mailed_at = models.DateTimeField(_("mailed at"), null=True, blank=True, editable=False)
    accepted_at = models.DateTimeField(_("accepted at"), null=True, blank=True, editable=False)
    accepted_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, editable=False, related_name="+")
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "email"],
                condition=Q(accepted_at=None, revoked_at=None),
                name="one_pending_invitation_per_address",
            ),
        ]
        indexes = [
            models.Index(fields=["mail_due_at"], condition=Q(mail_due_at__isnull=False), name="invitation_mail"),
            models.Index(fields=["invited_by", "created_at"], name="invitation_by_inviter"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()


class JoinState(models.TextChoices):
    """Whether somebody can come in by a join link now, and why not."""

    OPEN = "open", _("Open")
    FULL = "full", _("Full")
    ENDED = "ended", _("Ended")
    OFF = "off", _("Switched off")


class JoinLinkQuerySet(models.QuerySet["JoinLink"]):
    def for_list(self, organization: Organization) -> Self:
        """The organization's links; those of cohorts stand on the pages of their cohorts."""
        return (
            self.filter(organization=organization, cohort=None)
            .select_related("project", "created_by")
            .annotate(sort_name=Lower("name"))
        )


class JoinLink(models.Model):
    """A link by which many come into an organization. It can be shown again, so its token is kept, encrypted."""

    public_id = models.CharField(max_length=40, unique=True, default=join_link_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="join_links")
    name = models.CharField(_("name"), max_length=80)
    role = models.CharField(_("role"), max_length=10, choices=Role)
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, null=True, blank=True, related_name="join_links", verbose_name=_("project")
    )
    project_role = models.CharField(_("role in the project"), max_length=12, choices=ProjectRole, blank=True)
    token = EncryptedTextField(editable=False)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    most_joins = models.PositiveIntegerField(_("places"))
    # Each once: who leaves and comes back takes no second place.
    came = models.ManyToManyField(User, editable=False, related_name="+")
    join_count = models.PositiveIntegerField(_("people who came"), default=0, editable=False)
    # None: it works as long as its project.
    ends_at = models.DateTimeField(_("ends at"), null=True, blank=True)
    switched_off_at = models.DateTimeField(_("switched off at"), null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("created by")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects = JoinLinkQuerySet.as_manager()

    class Meta:
        verbose_name = _("join link")
        verbose_name_plural = _("join links")
        constraints = [
            models.CheckConstraint(
                condition=Q(join_count__lte=F("most_joins")), name="no_more_join_than_there_are_places"
            ),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=False) | Q(project__isnull=False), name="a_join_link_ends_or_has_a_project"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        """What is given to those who shall come in."""
        return f"{settings.PUBLIC_URL}{reverse('accounts:join', args=[self.token])}"

    @property
    def last_moment(self) -> datetime | None:
        """The end as it is shown, as that of a project."""
        return last_moment(self.ends_at) if self.ends_at else None

    @property
    def state(self) -> JoinState:
        if self.switched_off_at is not None:
            return JoinState.OFF
        if (self.ends_at and self.ends_at <= timezone.now()) or (self.project and not self.project.is_live):
            return JoinState.ENDED
        return JoinState.FULL if self.join_count >= self.most_joins else JoinState.OPEN


class CohortQuerySet(models.QuerySet["Cohort"]):
    def for_list(self, organization: Organization) -> Self:
        return (
            self.filter(project__organization=organization)
            .select_related("project", "join_link")
            .annotate(sort_name=Lower("project__name"))
        )

    def allowance_of(self, user: User, project: Project) -> "Cohort | None":
        """The cohort whose allowance binds this user's keys in this project; None when none does.

        It binds participants. Those who run the cohort are not bound.
        """
        places = ProjectMembership.objects.filter(project=project, membership__user=user, role=ProjectRole.PARTICIPANT)
        return self.filter(models.Exists(places), project=project).first()


class Cohort(Limited):
    """A course or a hackathon: a closed project with a join link. Its limits are the allowance of each participant.

    It ends with its project: then no key of it works.
    """

    public_id = models.CharField(max_length=40, unique=True, default=cohort_id, editable=False)
    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="cohort")
    join_link = models.OneToOneField(JoinLink, on_delete=models.CASCADE, related_name="cohort")
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("created by")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects = CohortQuerySet.as_manager()

    class Meta:
        verbose_name = _("cohort")
        verbose_name_plural = _("cohorts")

    def __str__(self) -> str:
        return str(self.project)

"""Projects, which hold keys and usage, and who takes part in them."""

from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Upper
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from accounts.models.organizations import Membership, Organization, in_every_language
from accounts.models.people import User
from accounts.roles import IN_EVERY_PROJECT, IN_OPEN_PROJECTS, ProjectRole
from common.ids import new_id
from common.limits import Limited

FIRST_PROJECT = gettext_noop("First project")


def last_moment(ends_at: datetime) -> datetime:
    """The last moment before an end, which people read as the end: their last day, and not the midnight after it."""
    return ends_at - timedelta(seconds=1)


def project_id() -> str:
    return new_id("proj")


def service_account_id() -> str:
    return new_id("svc")


class ProjectQuerySet(models.QuerySet["Project"]):
    def for_member(self, user: User) -> Self:
        """Projects that the user may see, the personal organization's first; archived ones are left out.

        Each with `role_of_user`: the user's role in its organization.
        """
        return (
            self.seen_by(user)
            .filter(archived_at=None)
            .select_related("organization")
            # Of the one membership that `seen_by` found it through.
            .annotate(role_of_user=models.F("organization__memberships__role"))
            .order_by("-organization__is_personal", "organization__name", "pk")
        )

    def seen_by(self, user: User) -> Self:
        """Projects in which the user has a right, archived ones too."""
        own = ProjectMembership.objects.filter(membership__user=user)
        # From the user's memberships, of which there is one in an organization, to its projects: asked of each project
        # whether the user is in it, PostgreSQL would read those of the whole portal.
        return self.filter(
            Q(organization__memberships__role__in=list(IN_EVERY_PROJECT))
            | Q(organization__memberships__role__in=list(IN_OPEN_PROJECTS), is_open=True)
            | Q(pk__in=own.values("project")),
            organization__memberships__user=user,
        )

    def for_projects_page(self, organization: Organization, user: User) -> Self:
        """The organization's projects that the user sees, archived ones too, with `sort_name` to sort by."""
        return self.seen_by(user).filter(organization=organization).annotate(sort_name=Lower("name"))


class Project(Limited):
    """What keys and usage belong to, in one organization. Once it is archived or has ended, none of its keys works.

    Its limits are for all of its keys and playground runs together.
    """

    public_id = models.CharField(max_length=40, unique=True, default=project_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="projects")
    name = models.CharField(_("name"), max_length=80)
    is_open = models.BooleanField(
        _("open to the whole organization"),
        default=True,
        help_text=_("Every member and viewer of the organization takes part. Otherwise only those who were added."),
    )
    ends_at = models.DateTimeField(_("ends at"), null=True, blank=True)
    archived_at = models.DateTimeField(_("archived at"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="a_project_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.display_name

    @property
    def display_name(self) -> str:
        """The name, in the reader's language while it is still the one that it was made with."""
        return gettext(FIRST_PROJECT) if self.name in in_every_language(FIRST_PROJECT) else self.name

    @property
    def last_moment(self) -> datetime | None:
        """The end as it is shown: the last day, and not the midnight after it."""
        return last_moment(self.ends_at) if self.ends_at else None

    @property
    def is_live(self) -> bool:
        """Whether its keys can work."""
        return self.archived_at is None and (self.ends_at is None or self.ends_at > timezone.now())


class ProjectMembershipQuerySet(models.QuerySet["ProjectMembership"]):
    def for_members_page(self, project: Project) -> Self:
        """The places in a project with what their list is sorted by."""
        return (
            self.filter(project=project)
            .select_related("membership__user")
            .annotate(sort_name=Upper("membership__user__name"))
        )

    def matching(self, text: str, *, by_address: bool) -> Self:
        """Those whose name holds `text`, or whose address does when the reader may see addresses."""
        if by_address:
            return self.filter(Q(membership__user__name__icontains=text) | Q(membership__user__email__icontains=text))
        return self.filter(membership__user__name__icontains=text)


class ProjectMembership(models.Model):
    """A member's place in one project, beside what their place in the organization gives them there."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    # Through the membership: who leaves the organization leaves its projects.
    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="projects")
    role = models.CharField(_("role"), max_length=12, choices=ProjectRole, default=ProjectRole.MEMBER)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects = ProjectMembershipQuerySet.as_manager()

    class Meta:
        verbose_name = _("project membership")
        verbose_name_plural = _("project memberships")
        constraints = [
            models.UniqueConstraint(fields=["project", "membership"], name="one_place_per_member_and_project"),
        ]

    def __str__(self) -> str:
        return f"{self.membership.user} · {self.project}"


class ServiceAccountQuerySet(models.QuerySet["ServiceAccount"]):
    def for_list(self, project: Project) -> Self:
        """Those that are there; what was removed is kept for the keys that name it, and shown nowhere."""
        return (
            self.filter(project=project, removed_at=None).select_related("created_by").annotate(sort_name=Lower("name"))
        )


class ServiceAccount(models.Model):
    """A program's place in a project: its keys belong to the project and stay when the person who made them leaves."""

    public_id = models.CharField(max_length=40, unique=True, default=service_account_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="service_accounts")
    name = models.CharField(_("name"), max_length=80)
    description = models.CharField(_("description"), max_length=200, blank=True)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("created by")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    removed_at = models.DateTimeField(_("removed at"), null=True, blank=True, editable=False)

    objects = ServiceAccountQuerySet.as_manager()

    class Meta:
        verbose_name = _("service account")
        verbose_name_plural = _("service accounts")
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"], condition=Q(removed_at=None), name="one_service_account_of_a_name"
            ),
        ]

    def __str__(self) -> str:
        return self.name

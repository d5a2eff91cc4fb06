"""People, the organizations they work in, and the projects that hold keys and usage."""

from datetime import datetime, timedelta
from functools import cache
from typing import Any, ClassVar, Self

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.base_user import BaseUserManager
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop, override
from django.utils.translation import gettext_lazy as _

from accounts.roles import IN_EVERY_PROJECT, IN_OPEN_PROJECTS, ProjectRole, Role
from common.fields import EncryptedTextField
from common.ids import new_id, uuid7
from common.limits import Limited

PERSONAL = gettext_noop("Personal")
FIRST_PROJECT = gettext_noop("First project")


@cache
def _in_every_language(text: str) -> frozenset[str]:
    names = {text}
    for code, _name in settings.LANGUAGES:
        with override(code):
            names.add(gettext(text))
    return frozenset(names)


def last_moment(ends_at: datetime) -> datetime:
    """The last moment before an end, which people read as the end: their last day, and not the midnight after it."""
    return ends_at - timedelta(seconds=1)


def user_id() -> str:
    return new_id("user")


def organization_id() -> str:
    return new_id("org")


def project_id() -> str:
    return new_id("proj")


def invitation_id() -> str:
    return new_id("inv")


def join_link_id() -> str:
    return new_id("join")


def cohort_id() -> str:
    return new_id("cohort")


def service_account_id() -> str:
    return new_id("svc")


def export_id() -> str:
    return new_id("export")


def erasure_id() -> str:
    return new_id("erasure")


def person_token() -> str:
    return new_id("person")


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
    # What is left of an account then only holds together what others rely on: threads, sums, the log of moderation.
    erased_at = models.DateTimeField(_("erased at"), null=True, blank=True, editable=False)

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
    requires_second_factor = models.BooleanField(
        _("requires a second factor"),
        default=False,
        help_text=_(
            "No page of the portal opens for a member without a second factor or passkey until they set one up."
        ),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    members = models.ManyToManyField(User, through="Membership", related_name="organizations")

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        verbose_name = _("organization")
        verbose_name_plural = _("organizations")

    def __str__(self) -> str:
        return self.display_name

    @property
    def display_name(self) -> str:
        """The name, in the reader's language while it is still the one that it was made with."""
        is_untouched = self.is_personal and self.name in _in_every_language(PERSONAL)
        return gettext(PERSONAL) if is_untouched else self.name


class MembershipQuerySet(models.QuerySet["Membership"]):
    def for_organizations_page(self, user: User) -> Self:
        """A person's own places, the personal organization first, each with `member_count`."""
        counts = Membership.objects.filter(organization=models.OuterRef("organization")).order_by()
        counted = counts.values("organization").annotate(n=models.Count("pk")).values("n")
        return (
            self.filter(user=user)
            .select_related("organization")
            .annotate(member_count=models.Subquery(counted))
            .order_by("-organization__is_personal", "organization__name", "pk")
        )

    def for_members_page(self, organization: Organization) -> Self:
        """The members with what their list is sorted by: `sort_name`, `created_at` and `rank` (owners are least)."""
        ranks = [models.When(role=role, then=models.Value(rank)) for rank, role in enumerate(Role)]
        return (
            self.filter(organization=organization)
            .select_related("user")
            .annotate(sort_name=Lower("user__name"), rank=models.Case(*ranks, output_field=models.IntegerField()))
        )

    def matching(self, text: str, *, by_address: bool) -> Self:
        """Those whose name holds `text`, or whose address does when the reader may see addresses."""
        if by_address:
            return self.filter(Q(user__name__icontains=text) | Q(user__email__icontains=text))
        return self.filter(user__name__icontains=text)

    def outside(self, project: "Project") -> Self:
        """Members without a place of their own in the project."""
        return self.exclude(projects__project=project)


class Membership(models.Model):
    """A person's place in an organization."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=10, choices=Role, default=Role.MEMBER)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="one_membership_per_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.organization}"


class Removal(models.Model):
    """Somebody was removed from an organization: no join link lets them back in, an invitation does."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="removals")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("removal")
        verbose_name_plural = _("removals")
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="one_removal_per_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.organization}"


class ProjectQuerySet(models.QuerySet["Project"]):
    def for_member(self, user: User) -> Self:
        """Projects that the user may see, the personal organization's first; archived ones are left out."""
        return (
            self.seen_by(user)
            .filter(archived_at=None)
            .select_related("organization")
            .order_by("-organization__is_personal", "organization__name", "pk")
        )

    def with_role_of(self, user: User) -> Self:
        """Each project with `role_of_user`: the user's role in its organization."""
        memberships = Membership.objects.filter(organization=models.OuterRef("organization"), user=user)
        return self.annotate(role_of_user=models.Subquery(memberships.values("role")[:1]))

    def seen_by(self, user: User) -> Self:
        """Projects in which the user has a right, archived ones too."""
        memberships = Membership.objects.filter(organization=models.OuterRef("organization"), user=user)
        own = ProjectMembership.objects.filter(project=models.OuterRef("pk"), membership__user=user)
        return self.filter(
            Q(models.Exists(memberships.filter(role__in=list(IN_EVERY_PROJECT))))
            | Q(models.Exists(memberships.filter(role__in=list(IN_OPEN_PROJECTS))), is_open=True)
            | Q(models.Exists(own))
        )

    def for_projects_page(self, organization: Organization, user: User) -> Self:
        """The organization's projects that the user sees, archived ones too, with `sort_name` to sort by."""
        return self.seen_by(user).filter(organization=organization).annotate(sort_name=Lower("name"))


class Project(models.Model):
    """What keys and usage belong to, in one organization. Once it is archived or has ended, none of its keys works."""

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
        return gettext(FIRST_PROJECT) if self.name in _in_every_language(FIRST_PROJECT) else self.name

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
            .annotate(sort_name=Lower("membership__user__name"))
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


class SecondFactor(Authenticator):  # type: ignore[misc]  # allauth has no types
    """What a person confirms a sign-in with. allauth keeps it; here it has a name that can be translated."""

    class Meta:
        proxy = True
        verbose_name = _("second factor")
        verbose_name_plural = _("second factors")

    def __str__(self) -> str:
        return f"{self.user} · {self.get_type_display()}"


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


class TermsVersionQuerySet(models.QuerySet["TermsVersion"]):
    def in_force(self) -> Self:
        return self.filter(in_force_at__lte=timezone.now())

    def owed_by(self, user: User) -> Self:
        """Versions in force that the user has accepted neither themselves nor in a later one."""
        accepted = TermsAcceptance.objects.filter(user=user, version__number__gte=models.OuterRef("number"))
        return self.in_force().filter(~models.Exists(accepted))

    def newest(self) -> "TermsVersion | None":
        """The latest, whether it is in force yet or not: who accepts it has accepted all before it."""
        return self.order_by("-number").first()


class TermsVersion(models.Model):
    """A version of the terms of use. It is never changed: another version takes its place."""

    number = models.PositiveIntegerField(_("version"), unique=True, editable=False)
    english = models.TextField(_("English text"))
    chinese = models.TextField(_("Chinese text"), blank=True)
    in_force_at = models.DateTimeField(_("in force from"), default=timezone.now)
    published_at = models.DateTimeField(_("published at"), default=timezone.now, editable=False)
    published_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, editable=False, related_name="+", verbose_name=_("published by")
    )

    objects = TermsVersionQuerySet.as_manager()

    class Meta:
        verbose_name = _("version of the terms")
        verbose_name_plural = _("versions of the terms")

    def __str__(self) -> str:
        return str(self.number)

    @property
    def public_id(self) -> str:
        return f"terms_{self.number}"

    @property
    def is_in_force(self) -> bool:
        return self.in_force_at <= timezone.now()

    def text_in(self, language: str) -> str:
        """The text in a language; the English one where there is no other."""
        return self.chinese if language.startswith("zh") and self.chinese else self.english


class TermsAcceptance(models.Model):
    """That somebody accepted a version of the terms."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="terms_acceptances")
    version = models.ForeignKey(TermsVersion, on_delete=models.PROTECT, related_name="acceptances")
    accepted_at = models.DateTimeField(_("accepted at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("acceptance of the terms")
        verbose_name_plural = _("acceptances of the terms")
        constraints = [
            models.UniqueConstraint(fields=["user", "version"], name="accepted_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.version}"


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

"""Organizations and who belongs to them."""

from functools import cache
from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Upper
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop, override
from django.utils.translation import gettext_lazy as _

from accounts.models.people import User
from accounts.models.plans import Plan
from accounts.roles import Role
from common.ids import new_id
from common.limits import Limited
from common.zones import UTC, zone_named

if TYPE_CHECKING:
    from accounts.models.projects import Project

PERSONAL = gettext_noop("Personal")


@cache
def in_every_language(text: str) -> frozenset[str]:
    """A name that the portal gave, as it reads in each language of the portal."""
    names = {text}
    for code, _name in settings.LANGUAGES:
        with override(code):
            names.add(gettext(text))
    return frozenset(names)


def organization_id() -> str:
    return new_id("org")


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def for_member(self, user: User | models.OuterRef) -> Self:
        """Organizations the user belongs to, the personal one first."""
        return self.filter(memberships__user=user).order_by("-is_personal", "name", "pk")


class Organization(Limited):
    """Who pays and who is answerable. A personal one is made at sign-up, until somebody else is asked into it.

    Its limits are for all of it together.
    """

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
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        default="UTC",
        db_default="UTC",
        help_text=_("Limits and budgets of a day, a week (from Monday) or a month begin anew in it."),
    )
    # What it allows holds beside the limits here.
    plan = models.ForeignKey(
        Plan, on_delete=models.PROTECT, null=True, blank=True, related_name="organizations", verbose_name=_("plan")
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
    def zone(self) -> ZoneInfo:
        # A zone can be gone from a newer list of them.
        return zone_named(self.time_zone) or UTC

    @property
    def is_untouched(self) -> bool:
        """Whether it still bears the name that it was made with."""
        return self.is_personal and self.name in in_every_language(PERSONAL)

    @property
    def may_choose_plan(self) -> bool:
        """Whether its own people may choose another plan: not where staff put it on one that is for them to give."""
        return self.plan is None or self.plan.is_open

    @property
    def display_name(self) -> str:
        """The name, in the reader's language while it is still the one that it was made with."""
        return gettext(PERSONAL) if self.is_untouched else self.name


RANK = models.Case(
    *(models.When(role=role, then=models.Value(rank)) for rank, role in enumerate(Role)),
    output_field=models.IntegerField(),
)
"""The place of a membership's role among the roles."""


class MembershipQuerySet(models.QuerySet["Membership"]):
    def for_organizations_page(self, user: User) -> Self:
        """A person's own places, each with `member_count`, and with `sort_name` to sort by."""
        counts = Membership.objects.filter(organization=models.OuterRef("organization")).order_by()
        counted = counts.values("organization").annotate(n=models.Count("pk")).values("n")
        return (
            self.filter(user=user)
            .select_related("organization")
            .annotate(member_count=models.Subquery(counted), sort_name=Lower("organization__name"))
        )

    def for_members_page(self, organization: Organization) -> Self:
        """The members with what their list is sorted by: `sort_name`, `created_at` and `rank` (owners are least)."""
        return (
            self.filter(organization=organization)
            .select_related("user")
            .annotate(sort_name=Upper("user__name"), rank=RANK)
        )

    def matching(self, text: str, *, by_address: bool) -> Self:
        """Those whose name holds `text`, or whose address does when the reader may see addresses."""
        if by_address:
            return self.filter(Q(user__name__icontains=text) | Q(user__email__icontains=text))
        return self.filter(user__name__icontains=text)

    def outside(self, project: "Project") -> Self:
        """Members without a place of their own in the project."""
        return self.exclude(projects__project=project)


class Membership(Limited):
    """A person's place in an organization. Its limits are for all of their keys and playground runs there together."""

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
        # The orders of the members' list, so that its page reads no more rows than it shows; by name see User.
        indexes = [
            models.Index(fields=["organization", "created_at", "id"], name="membership_by_time"),
            models.Index("organization", RANK, "id", name="membership_by_rank"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.organization}"

    @property
    def is_only_owner(self) -> bool:
        """Whether nobody else could act as an owner, so that this one has to stay."""
        # Whose account is switched off, or is being erased, can hand nothing over.
        owners = Membership.objects.filter(organization=self.organization_id, role=Role.OWNER, user__is_active=True)
        return self.role == Role.OWNER and not owners.exclude(pk=self.pk).exists()


class Removal(models.Model):
    """Somebody was removed from an organization, or left it and limits of their own: no join link lets them back in, an
    invitation does."""

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

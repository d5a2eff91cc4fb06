"""Plans: named sets of limits, models and prices, of which an organization is on one or none."""

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models.people import User
from common.ids import new_id
from common.limits import Limited

if TYPE_CHECKING:
    from accounts.models.organizations import Organization


def plan_id() -> str:
    return new_id("plan")


class PlanQuerySet(models.QuerySet["Plan"]):
    def in_order(self) -> Self:
        """As they are put before people."""
        return self.order_by("position", "name", "pk")

    def to_choose(self) -> Self:
        """Those that an organization may choose by itself."""
        return self.filter(is_open=True, is_archived=False).in_order()

    def for_plans_page(self) -> Self:
        """All of them with their `organization_count`, the archived ones last."""
        counted = models.Count("organizations")
        return self.annotate(organization_count=counted).order_by("is_archived", "position", "name", "pk")

    def default(self) -> "Plan | None":
        """The one that new organizations begin on."""
        return self.filter(is_default=True).first()


class Plan(Limited):
    """What organizations may use, as staff sell or grant it. Its limits are for all of an organization together, and
    hold beside those that the organization sets itself.

    Models are named as in keys and in the ledger, by their public names: a plan outlives a model.
    """

    public_id = models.CharField(max_length=40, unique=True, default=plan_id, editable=False)
    name = models.CharField(_("name"), max_length=80, unique=True)
    description = models.CharField(_("description"), max_length=1000, blank=True)
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    is_open = models.BooleanField(_("open to all"), default=False)
    is_default = models.BooleanField(_("for new organizations"), default=False)
    is_archived = models.BooleanField(_("archived"), default=False)
    # Empty: all of them.
    allowed_models = ArrayField(models.CharField(max_length=200), verbose_name=_("models"), default=list, blank=True)
    # By model: nano-dollars for a million input tokens, and for a million output tokens.
    prices = models.JSONField(_("prices"), default=dict, blank=True)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    # Nobody is told when a budget of a plan nears its end.
    alert_percents = None  # type: ignore[assignment]

    objects = PlanQuerySet.as_manager()

    if TYPE_CHECKING:
        organization_count: int  # set by for_plans_page

    class Meta:
        verbose_name = _("plan")
        verbose_name_plural = _("plans")
        constraints = [
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="one_default_plan"),
            models.CheckConstraint(
                condition=Q(is_archived=False) | Q(is_default=False), name="no_archived_plan_is_default"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def allows(self, model: str) -> bool:
        """Whether its organizations may use the model of this name."""
        return not self.allowed_models or model in self.allowed_models

    @property
    def mark(self) -> str:
        """Changes with anything that who agrees to the plan agrees to: its limits, models and prices."""
        terms = [str(self.limits), sorted(self.allowed_models), self.prices]
        return sha256(json.dumps(terms, sort_keys=True).encode()).hexdigest()[:16]


class PlanChangeQuerySet(models.QuerySet["PlanChange"]):
    def history_of(self, subject: "Plan | Organization") -> Self:
        """What was changed of a plan, or which plans an organization was on."""
        mine = {"plan": subject} if isinstance(subject, Plan) else {"organization": subject}
        return self.filter(**mine).select_related("by")


class PlanChange(models.Model):
    """A plan was made or changed, or an organization went from one (`before["plan"]`, its name) to another. Rows are
    only ever inserted."""

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, null=True, related_name="changes")
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.CASCADE, null=True, related_name="plan_changes"
    )
    at = models.DateTimeField(_("at"), default=timezone.now)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("by"))
    before: "models.JSONField[dict[str, Any], dict[str, Any]]" = models.JSONField(_("before"), default=dict)
    after: "models.JSONField[dict[str, Any], dict[str, Any]]" = models.JSONField(_("after"), default=dict)

    objects = PlanChangeQuerySet.as_manager()

    class Meta:
        verbose_name = _("change of a plan")
        verbose_name_plural = _("changes of plans")
        constraints = [
            models.CheckConstraint(
                condition=Q(plan__isnull=True) ^ Q(organization__isnull=True), name="of_a_plan_or_an_organization"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan or self.organization} {self.at:%Y-%m-%d}"

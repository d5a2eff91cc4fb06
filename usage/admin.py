from datetime import datetime
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext, pgettext_lazy

from accounts.access import AuthedRequest
from common.admin import ReadOnlyAdmin
from common.money import display_dollars, exact_dollars
from common.zones import UTC, zone_named
from usage.credits.forms import GrantForm, RevocationForm
from usage.credits.services import grant_credits, revoke_grant
from usage.models import (
    ROLLUPS,
    BudgetAlert,
    CreditDraw,
    CreditGrant,
    CreditRevocation,
    SizeOnDay,
    UsageEvent,
    UsageSums,
)


class LedgerAdmin(ReadOnlyAdmin):
    """Calls and their sums."""

    @admin.display(description=_("cost"), ordering="cost_nano")
    def cost(self, row: UsageEvent | UsageSums) -> str:
        return display_dollars(row.cost_nano)


@admin.register(UsageEvent)
class UsageEventAdmin(LedgerAdmin):
    """Calls, found by the request id that a developer quotes."""

    list_display = [
        "at", "request_id", "project_id", "key_id", "model", "status", "error_code", "prompt_tokens",
        "completion_tokens", "cost", "latency_ms", "first_token_ms", "backend",
    ]  # fmt: skip
    list_filter = ["source", "endpoint", "is_streamed", "is_estimated", "at"]
    search_fields = ["request_id__exact", "project_id__exact"]
    search_help_text = _("A request id or a project id, whole.")
    ordering = ["-id"]


class SumsAdmin(LedgerAdmin):
    """A table of sums: what its rows are of, and the sums themselves."""

    model: type[UsageSums]
    list_filter = ["bucket_at"]
    ordering = ["-id"]

    def get_list_display(self, request: HttpRequest) -> list[str]:  # type: ignore[override]  # a list of its own
        return [
            *self.model.CELL,
            *("requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens", "cost"),
        ]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return [f"{name}__exact" for name in ("project_id", "organization_id") if name in self.model.CELL]


admin.site.register(ROLLUPS, SumsAdmin)


@admin.register(SizeOnDay)
class SizeOnDayAdmin(ReadOnlyAdmin):
    list_display = ["day", "database_bytes", "files_bytes"]
    date_hierarchy = "day"
    ordering = ["-day"]


@admin.register(BudgetAlert)
class BudgetAlertAdmin(ReadOnlyAdmin):
    """What was told of budgets in periods that are not over, and of credits."""

    list_display = ["counter", "percent", "used", "budget", "ends_at"]
    list_filter = ["percent"]
    search_fields = ["counter"]
    ordering = ["-pk"]

    @admin.display(description=_("used"), ordering="used_nano")
    def used(self, alert: BudgetAlert) -> str:
        return display_dollars(alert.used_nano)

    @admin.display(description=_("budget"), ordering="limit_nano")
    def budget(self, alert: BudgetAlert) -> str:
        return exact_dollars(alert.limit_nano)


@admin.register(CreditGrant)
class CreditGrantAdmin(ReadOnlyAdmin):
    """Grants of credits: staff add them and look at them."""

    form = GrantForm
    list_display = [
        "at",
        "public_id",
        "organization",
        "amount",
        "used",
        "left",
        "reason",
        "last_day",
        "revoked_at",
        "take_back",
    ]
    search_fields = ["public_id__exact", "organization_id__exact", "reason"]
    ordering = ["-pk"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditGrant]:
        return CreditGrant.objects.for_staff()

    def get_fields(self, request: HttpRequest, obj: CreditGrant | None = None) -> Any:
        """Of a grant that is there, the columns of the list: its own are in nano-dollars and name nobody."""
        return super().get_fields(request, obj) if obj is None else self.list_display

    @admin.display(description=_("organization"), ordering="organization_id")
    def organization(self, grant: CreditGrant) -> str:
        return f"{grant.organization_name or ''} {grant.organization_id}".lstrip()

    @admin.display(description=_("amount"), ordering="amount_nano")
    def amount(self, grant: CreditGrant) -> str:
        return exact_dollars(grant.amount_nano)

    @admin.display(description=_("used"), ordering="used_nano")
    def used(self, grant: CreditGrant) -> str:
        return display_dollars(grant.used_nano)

    @admin.display(description=_("left"))
    def left(self, grant: CreditGrant) -> str:
        return display_dollars(grant.left_nano)

    @admin.display(description=_("last day"), ordering="expires_at")
    def last_day(self, grant: CreditGrant) -> str:
        return grant.last_day_in(zone_named(grant.organization_zone or "") or UTC)

    @admin.display(description=_("revoked"))
    def revoked_at(self, grant: CreditGrant) -> datetime | None:
        return grant.revoked_at

    @admin.display(description=pgettext_lazy("credits", "Take back"))
    def take_back(self, grant: CreditGrant) -> str:
        """Leads to the revocation of a grant of which something is left."""
        if not grant.left_nano:
            return ""
        query = urlencode({"grant": grant.pk})
        return format_html(
            '<a href="{}?{}">{}</a>',
            reverse("admin:usage_creditrevocation_add"),
            query,
            pgettext("credits", "Take back"),
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def save_model(self, request: HttpRequest, obj: CreditGrant, form: GrantForm, change: bool) -> None:
        by = cast(AuthedRequest, request).user
        granted = grant_credits(
            organization=form.organization,
            amount_nano=obj.amount_nano,
            reason=obj.reason,
            expires_at=obj.expires_at,
            by=by,
        )
        obj.pk, obj.public_id = granted.pk, granted.public_id


@admin.register(CreditRevocation)
class CreditRevocationAdmin(ReadOnlyAdmin):
    """What was taken back of grants: adding one takes back what is left of it."""

    form = RevocationForm
    list_display = ["at", "grant", "reason"]
    list_select_related = ["grant"]
    search_fields = ["grant__public_id", "grant__organization_id"]
    ordering = ["-pk"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def save_model(self, request: HttpRequest, obj: CreditRevocation, form: RevocationForm, change: bool) -> None:
        by = cast(AuthedRequest, request).user
        obj.pk = revoke_grant(grant=obj.grant, reason=obj.reason, by=by).pk


@admin.register(CreditDraw)
class CreditDrawAdmin(ReadOnlyAdmin):
    list_display = ["day", "grant_id", "organization_id", "nano"]
    search_fields = ["grant_id__exact", "organization_id__exact"]
    ordering = ["-pk"]

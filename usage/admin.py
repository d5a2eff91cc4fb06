from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from common.admin import ReadOnlyAdmin
from common.money import display_dollars
from usage.models import ROLLUPS, BudgetAlert, UsageEvent, UsageSums


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


@admin.register(BudgetAlert)
class BudgetAlertAdmin(ReadOnlyAdmin):
    """What was told of budgets in periods that are not over."""

    list_display = ["counter", "percent", "used", "budget", "ends_at"]
    list_filter = ["percent"]
    search_fields = ["counter"]
    ordering = ["-pk"]

    @admin.display(description=_("used"), ordering="used_nano")
    def used(self, alert: BudgetAlert) -> str:
        return display_dollars(alert.used_nano)

    @admin.display(description=_("budget"), ordering="limit_nano")
    def budget(self, alert: BudgetAlert) -> str:
        return display_dollars(alert.limit_nano)

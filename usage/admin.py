from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from common.admin import ReadOnlyAdmin
from common.money import display_dollars
from usage.models import UsageEvent, UsageRollup, UsageRollup5Min, UsageRollup15Min


class LedgerAdmin(ReadOnlyAdmin):
    """Calls and their sums."""

    @admin.display(description=_("cost"), ordering="cost_nano")
    def cost(self, row: UsageEvent | UsageRollup) -> str:
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


class RollupAdmin(LedgerAdmin):
    list_display = [
        "bucket_at", "project_id", "key_id", "user_id", "source", "model", "endpoint", "requests", "errors",
        "prompt_tokens", "cached_tokens", "completion_tokens", "cost",
    ]  # fmt: skip
    list_filter = ["source", "endpoint", "bucket_at"]
    search_fields = ["project_id__exact"]
    search_help_text = _("A project id, whole.")
    ordering = ["-id"]


admin.site.register([UsageRollup5Min, UsageRollup15Min], RollupAdmin)

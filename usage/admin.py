from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from common.money import display_dollars
from usage.models import UsageEvent, UsageRollup, UsageRollup5Min, UsageRollup15Min


class BoundedPaginator(Paginator[Any]):
    """Counts no further than anyone leafs: a whole count of the ledger takes longer than the page asked for."""

    most = 10_000
    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        return self.object_list[: self.most].count()


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """The ledger is evidence: staff read it, nobody edits it."""

    paginator = BoundedPaginator
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("cost"), ordering="cost_nano")
    def cost(self, row: UsageEvent | UsageRollup) -> str:
        return display_dollars(row.cost_nano)


@admin.register(UsageEvent)
class UsageEventAdmin(ReadOnlyAdmin):
    """Calls, found by the request id that a developer quotes."""

    list_display = [
        "at", "request_id", "project_id", "key_id", "model", "status", "error_code", "prompt_tokens",
        "completion_tokens", "cost", "latency_ms", "first_token_ms", "backend",
    ]  # fmt: skip
    list_filter = ["source", "endpoint", "is_streamed", "is_estimated", "at"]
    search_fields = ["request_id__exact", "project_id__exact"]
    search_help_text = _("A request id or a project id, whole.")
    ordering = ["-id"]


class RollupAdmin(ReadOnlyAdmin):
    list_display = [
        "bucket_at", "project_id", "key_id", "user_id", "source", "model", "requests", "errors", "prompt_tokens",
        "completion_tokens", "cost",
    ]  # fmt: skip
    list_filter = ["source", "bucket_at"]
    search_fields = ["project_id__exact"]
    search_help_text = _("A project id, whole.")
    ordering = ["-id"]


admin.site.register([UsageRollup5Min, UsageRollup15Min], RollupAdmin)

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from common.money import display_dollars
from playground.models import Run


@admin.register(Run)
class RunAdmin(admin.ModelAdmin[Run]):
    """How runs went, never what they say: a run is its owner's document, and staff have no business in it."""

    list_display = [
        "public_id", "user", "model_name", "status", "error_code", "completion_tokens", "cost", "created_at",
        "finished_at",
    ]  # fmt: skip
    list_filter = ["status", "created_at"]
    list_select_related = ["user"]
    search_fields = ["public_id", "request_id", "user__email"]
    fields = [
        "public_id", "user", "project", "model_name", "status", "error_code", "error_message", "finish_reason",
        "request_id", "prompt_tokens", "completion_tokens", "cost", "worker", "created_at", "started_at",
        "heartbeat_at", "stop_requested_at", "first_token_at", "finished_at",
    ]  # fmt: skip
    show_full_result_count = False
    ordering = ["-id"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        return False

    @admin.display(description=_("cost"), ordering="cost_nano")
    def cost(self, run: Run) -> str:
        return "–" if run.cost_nano is None else display_dollars(run.cost_nano)

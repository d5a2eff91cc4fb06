from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.access import AuthedRequest
from apikeys.models import ApiKey
from apikeys.services import change_key, revoke_key
from common.admin import LimitedAdmin


@admin.register(ApiKey)
class ApiKeyAdmin(LimitedAdmin[ApiKey]):
    """Keys by what is known of them; the digest is on no page, and a new one is made where its owner can read it."""

    list_display = ["name", "hint", "project", "created_by", "created_at", "last_used_at", "revoked_at"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter), "created_at"]
    list_select_related = ["project", "created_by"]
    search_fields = [
        "name",
        "public_id",
        "last4",
        "project__public_id",
        "project__organization__name",
        "created_by__email",
    ]
    fields = [
        "public_id", "name", "hint", "project", "created_by", "created_at", "last_used_at", "revoked_at", "revoked_by",
        "requests_per_minute", "tokens_per_minute", "concurrent_requests", "monthly_budget_nano",
    ]  # fmt: skip
    readonly_fields = [
        "public_id", "hint", "project", "created_by", "created_at", "last_used_at", "revoked_at", "revoked_by",
    ]  # fmt: skip
    actions = ["revoke"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: object, change: bool) -> None:
        change_key(key=obj)

    @admin.action(description=_("Revoke"))
    def revoke(self, request: AuthedRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            revoke_key(key=key, by=request.user)

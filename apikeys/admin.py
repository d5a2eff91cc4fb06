from django.contrib import admin
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from accounts.access import AuthedRequest
from apikeys.models import ApiKey, KeyPolicy, KeySecret
from apikeys.services import disable_key, revoke_key
from common.admin import ReadOnlyAdmin


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys by what is known of them. What one may do is its owner's to say; staff can stop it."""

    list_display = [
        "name",
        "kind",
        "hint",
        "project",
        "owner",
        "created_by",
        "created_at",
        "last_used_at",
        "revoked_at",
    ]
    list_filter = ["kind", ("revoked_at", admin.EmptyFieldListFilter), "created_at"]
    list_select_related = ["project", "owner", "created_by"]
    search_fields = [
        "name",
        "public_id",
        "last4",
        "project__public_id",
        "project__organization__name",
        "created_by__email",
    ]
    exclude = ["submission"]
    actions = ["disable", "revoke"]

    @admin.action(description=_("Disable"))
    def disable(self, request: AuthedRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            disable_key(key=key, by=request.user)

    @admin.action(description=_("Revoke"))
    def revoke(self, request: AuthedRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            revoke_key(key=key, by=request.user)


@admin.register(KeySecret)
class KeySecretAdmin(ReadOnlyAdmin):
    """Secrets without their digests, and without where they were used from."""

    list_display = ["hint", "key", "pepper_version", "created_at", "valid_until", "last_used_at"]
    list_select_related = ["key"]
    search_fields = ["public_id", "last4", "key__public_id", "key__name"]
    fields = ["public_id", "hint", "key", "pepper_version", "created_at", "valid_until", "last_used_at"]

    def hint(self, secret: KeySecret) -> str:
        return secret.hint


@admin.register(KeyPolicy)
class KeyPolicyAdmin(ReadOnlyAdmin):
    list_display = ["organization", "longest_lifetime_days", "default_budget_nano", "makers", "revokes_leaked"]
    list_select_related = ["organization"]
    search_fields = ["organization__name", "organization__public_id"]

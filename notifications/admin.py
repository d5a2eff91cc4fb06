from django.contrib import admin
from django.http import HttpRequest

from notifications.models import MailPreference, Notification


@admin.register(Notification)
class NotificationAdmin(admin.ModelAdmin[Notification]):
    """For finding out why someone was or was not told; nothing is edited here."""

    list_display = ["recipient", "kind", "title", "count", "created_at", "read_at", "mailed_at", "mail_attempts"]
    list_filter = ["kind", "created_at"]
    list_select_related = ["recipient"]
    search_fields = ["recipient__email", "title", "object_id"]
    date_hierarchy = "created_at"
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Notification | None = None) -> bool:
        return False


@admin.register(MailPreference)
class MailPreferenceAdmin(admin.ModelAdmin[MailPreference]):
    list_display = ["user", "wants_mail"]
    list_filter = ["wants_mail"]
    list_select_related = ["user"]
    search_fields = ["user__email"]
    autocomplete_fields = ["user"]

from django.contrib import admin
from django.http import HttpRequest

from common.admin import ReadOnlyAdmin
from webhooks.models import Delivery, Endpoint, Message


@admin.register(Endpoint)
class EndpointAdmin(admin.ModelAdmin[Endpoint]):
    """Endpoints, to look at and to remove; secrets are on no page."""

    list_display = ["url", "organization", "created_at", "failing_since", "disabled_at", "disabled_because"]
    list_filter = [("disabled_at", admin.EmptyFieldListFilter), ("failing_since", admin.EmptyFieldListFilter)]
    list_select_related = ["organization"]
    search_fields = ["url", "public_id", "organization__name", "organization__public_id"]
    fields = ["public_id", "organization", "url", "description", "event_types", "created_by", "created_at"]
    readonly_fields = ["public_id", "organization", "url", "description", "event_types", "created_by", "created_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "event_type", "public_id", "organization"]
    list_select_related = ["organization"]
    search_fields = ["public_id", "event_type", "organization__public_id"]


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "endpoint", "message", "state", "attempts", "status", "failure", "due_at"]
    list_filter = ["state"]
    list_select_related = ["endpoint", "message"]
    search_fields = ["public_id", "message__public_id", "endpoint__public_id"]

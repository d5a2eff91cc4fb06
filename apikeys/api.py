"""Keys over the REST API."""

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers

from accounts.access import rights_in
from accounts.api import PROJECT_PARAMETER, project_of, user_of
from apikeys.models import ApiKey
from common.api import REFUSALS, KeysetPagination


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    """What is known of a key; its secret is not. Limits that are null are not set."""

    id = serializers.CharField(source="public_id")
    hint = serializers.CharField(help_text="The beginning and the last four characters of the secret.")

    class Meta:
        model = ApiKey
        fields = [
            "id", "name", "hint", "created_at", "last_used_at", "revoked_at", "requests_per_minute",
            "tokens_per_minute", "concurrent_requests", "monthly_budget_nano",
        ]  # fmt: skip


@extend_schema_view(
    get=extend_schema(
        operation_id="keys_list",
        parameters=[PROJECT_PARAMETER],
        responses={200: KeySerializer(many=True), **REFUSALS},
        tags=["keys"],
    )
)
class KeysView(generics.ListAPIView[ApiKey]):
    """The keys of a project, newest first, revoked ones included."""

    serializer_class = KeySerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[ApiKey]":
        user, project = user_of(self.request), project_of(self.request)
        return ApiKey.objects.for_keys_page(project, user, rights_in(user, project))

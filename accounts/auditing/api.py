"""The audit log over the REST API."""

from typing import Any

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.access import organization_for
from accounts.api import user_of
from accounts.auditing.files import file_response
from accounts.auditing.reading import Asked, entries, events, record_of
from accounts.models import AuditEvent, Organization
from accounts.roles import Right
from common.api import REFUSALS, KeysetPagination


class FilterSerializer(serializers.Serializer[Asked]):
    organization = serializers.CharField(
        required=False, help_text="The id of an organization whose log you may see. Only staff may leave it out."
    )
    action = serializers.CharField(required=False, max_length=60, help_text="Such as `key.created`.")
    by = serializers.CharField(
        required=False,
        max_length=254,
        help_text="A token or the id of a user, or part of a name or, for members and for staff, of an e-mail address.",
    )
    target = serializers.CharField(
        required=False, max_length=254, help_text="An id, or part of a name; people as `by`, keys also by their hint."
    )
    since = serializers.DateField(required=False, help_text="The first day.")
    until = serializers.DateField(required=False, help_text="The last day.")


class EventSerializer(serializers.Serializer[AuditEvent]):
    """An event. `by` and a `target` that is a person are tokens, which stay when the person is erased."""

    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    action = serializers.CharField()
    by = serializers.CharField(allow_null=True, help_text="Null for the portal itself.")
    by_user = serializers.CharField(allow_null=True, help_text="Null for one who has been erased.")
    organization = serializers.CharField(allow_null=True)
    target_kind = serializers.CharField()
    target = serializers.CharField()
    target_name = serializers.CharField()
    before = serializers.DictField()
    after = serializers.DictField()
    address = serializers.IPAddressField(allow_null=True, help_text="Null when it is forgotten or there was none.")
    user_agent = serializers.CharField(allow_null=True)
    request_id = serializers.CharField()


def asked_events(request: Request) -> "QuerySet[AuditEvent]":
    """What the address asks for, of a log that this user may see."""
    filters = FilterSerializer(data=request.query_params)
    filters.is_valid(raise_exception=True)
    asked: dict[str, Any] = dict(filters.validated_data)
    name, user = asked.pop("organization", None), user_of(request)
    organization: Organization | None = None
    if name is not None:
        organization = organization_for(user, name, to=Right.SEE_AUDIT)
    elif not user.is_staff:
        raise serializers.ValidationError({"organization": "Say whose log you ask for."})
    return events(organization=organization, asked=Asked(**asked))


@extend_schema_view(
    get=extend_schema(
        operation_id="audit_events_list",
        parameters=[FilterSerializer],
        responses={200: EventSerializer(many=True), **REFUSALS},
        tags=["audit"],
    )
)
class EventsView(generics.ListAPIView[AuditEvent]):
    """The audit log of an organization, or for staff of the whole portal, newest first."""

    serializer_class = EventSerializer
    pagination_class = KeysetPagination
    keyset_by = "at"

    def get_queryset(self) -> "QuerySet[AuditEvent]":
        return asked_events(self.request)

    def get_serializer(self, instance: Any, **kwargs: Any) -> Any:
        return super().get_serializer([record_of(entry) for entry in entries(instance)], **kwargs)


class EventsFileView(APIView):
    @extend_schema(
        operation_id="audit_events_file",
        parameters=[FilterSerializer, OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=["csv", "jsonl"])],
        responses={
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/jsonl"): OpenApiTypes.STR,
            **REFUSALS,
        },
        tags=["audit"],
    )
    def get(self, request: Request, kind: str) -> HttpResponseBase:
        """The same as a file, whole and streamed: CSV, or a JSON object per line."""
        return file_response(asked_events(request), kind=kind, name="audit")

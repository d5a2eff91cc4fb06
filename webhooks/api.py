"""Webhooks over the REST API, for whoever manages the organization."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import organization_for
from accounts.api import refusals_as_conflicts, require_unbound, user_of
from accounts.roles import Right
from common.api import CONFLICT, REFUSALS, KeysetPagination
from common.outbound import validate_public_url
from webhooks import services
from webhooks.access import delivery_for, endpoint_for
from webhooks.models import Delivery, DeliveryState, Endpoint
from webhooks.registry import is_registered


class EndpointSerializer(serializers.ModelSerializer[Endpoint]):
    """Where an organization is told what happens. No event types means all of them."""

    id = serializers.CharField(source="public_id", read_only=True)
    url = serializers.CharField(max_length=500, validators=[validate_public_url])
    event_types = serializers.ListField(child=serializers.CharField(max_length=60), max_length=50, default=list)
    description = serializers.CharField(max_length=200, allow_blank=True, default="")
    is_enabled = serializers.BooleanField(read_only=True)
    disabled_because = serializers.ChoiceField(Endpoint.DisabledBecause.choices, allow_blank=True, read_only=True)

    class Meta:
        model = Endpoint
        fields = [
            "id", "url", "description", "event_types", "is_enabled", "disabled_because", "failing_since", "created_at",
        ]  # fmt: skip
        read_only_fields = ["disabled_because", "failing_since", "created_at"]

    def validate_event_types(self, value: list[str]) -> list[str]:
        unknown = [name for name in value if not is_registered(name)]
        if unknown:
            raise serializers.ValidationError(f"There is no event called {unknown[0]}.")
        return sorted(set(value))


class NewEndpointSerializer(EndpointSerializer):
    """An endpoint as it was made, with the signing secret, which is not shown again."""

    secret = serializers.CharField(read_only=True)

    class Meta(EndpointSerializer.Meta):
        fields = [*EndpointSerializer.Meta.fields, "secret"]


class SigningSecretSerializer(serializers.Serializer[dict[str, Any]]):
    """A signing secret, shown now and not again."""

    secret = serializers.CharField()


class EnabledSerializer(serializers.Serializer[dict[str, Any]]):
    """Whether an endpoint is on."""

    is_enabled = serializers.BooleanField()


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """One message on its way to one endpoint. `failure` says why there was no answer."""

    id = serializers.CharField(source="public_id")
    message_id = serializers.CharField(source="message.public_id")
    event_type = serializers.CharField(source="message.event_type")
    body = serializers.DictField(source="message.body", help_text="What is sent, the same at every attempt.")
    state = serializers.ChoiceField(DeliveryState.choices)

    class Meta:
        model = Delivery
        fields = [
            "id", "message_id", "event_type", "body", "state", "attempts", "created_at", "last_attempt_at", "due_at",
            "status", "failure", "answer", "milliseconds",
        ]  # fmt: skip


@extend_schema_view(
    get=extend_schema(
        operation_id="webhooks_list", responses={200: EndpointSerializer(many=True), **REFUSALS}, tags=["webhooks"]
    )
)
class EndpointsView(generics.ListAPIView[Endpoint]):
    """The endpoints of an organization, newest first."""

    serializer_class = EndpointSerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[Endpoint]":
        organization = organization_for(
            user_of(self.request), self.kwargs["organization_id"], to=Right.MANAGE_ORGANIZATION
        )
        return Endpoint.objects.filter(organization=organization)

    @extend_schema(
        operation_id="webhooks_create",
        request=EndpointSerializer,
        responses={201: NewEndpointSerializer, **REFUSALS, **CONFLICT},
        tags=["webhooks"],
    )
    def post(self, request: Request, organization_id: str) -> Response:
        """Make an endpoint. The answer carries its signing secret, this once."""
        organization = organization_for(user_of(request), organization_id, to=Right.MANAGE_ORGANIZATION)
        require_unbound(request)
        asked = EndpointSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        with refusals_as_conflicts():
            endpoint, secret = services.create_endpoint(
                organization=organization, by=user_of(request), **asked.validated_data
            )
        return Response({**EndpointSerializer(endpoint).data, "secret": secret}, status=status.HTTP_201_CREATED)


class EndpointView(APIView):
    """One endpoint."""

    @extend_schema(operation_id="webhooks_read", responses={200: EndpointSerializer, **REFUSALS}, tags=["webhooks"])
    def get(self, request: Request, organization_id: str, endpoint_id: str) -> Response:
        """An endpoint, without its secret."""
        return Response(EndpointSerializer(endpoint_for(user_of(request), organization_id, endpoint_id)).data)

    @extend_schema(
        operation_id="webhooks_change",
        request=EndpointSerializer,
        responses={200: EndpointSerializer, **REFUSALS},
        tags=["webhooks"],
    )
    def patch(self, request: Request, organization_id: str, endpoint_id: str) -> Response:
        """Move an endpoint, or change what it is told. What is left out stays."""
        endpoint = endpoint_for(user_of(request), organization_id, endpoint_id)
        require_unbound(request)
        asked = EndpointSerializer(endpoint, data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        kept = {"url": endpoint.url, "description": endpoint.description, "event_types": endpoint.event_types}
        services.change_endpoint(endpoint=endpoint, by=user_of(request), **{**kept, **asked.validated_data})
        return Response(EndpointSerializer(endpoint).data)

    @extend_schema(operation_id="webhooks_remove", responses={204: None, **REFUSALS}, tags=["webhooks"])
    def delete(self, request: Request, organization_id: str, endpoint_id: str) -> Response:
        """Forget an endpoint and its log."""
        services.remove_endpoint(
            endpoint=endpoint_for(user_of(request), organization_id, endpoint_id), by=user_of(request)
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class EnabledView(APIView):
    """Whether an endpoint is on."""

    @extend_schema(
        operation_id="webhooks_enable",
        request=EnabledSerializer,
        responses={200: EndpointSerializer, **REFUSALS},
        tags=["webhooks"],
    )
    def put(self, request: Request, organization_id: str, endpoint_id: str) -> Response:
        """Switch an endpoint off, keeping what waits for it, or on again."""
        endpoint = endpoint_for(user_of(request), organization_id, endpoint_id)
        asked = EnabledSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        services.set_enabled(endpoint=endpoint, enabled=asked.validated_data["is_enabled"], by=user_of(request))
        return Response(EndpointSerializer(endpoint).data)


class SecretView(APIView):
    """The signing secret of an endpoint."""

    @extend_schema(
        operation_id="webhooks_rotate_secret",
        request=None,
        responses={200: SigningSecretSerializer, **REFUSALS},
        tags=["webhooks"],
    )
    def post(self, request: Request, organization_id: str, endpoint_id: str) -> Response:
        """Make a new secret. The one before signs as well for a day."""
        endpoint = endpoint_for(user_of(request), organization_id, endpoint_id)
        return Response({"secret": services.rotate_secret(endpoint=endpoint, by=user_of(request))})


class TestView(APIView):
    """A message to see whether an endpoint hears."""

    @extend_schema(operation_id="webhooks_test", request=None, responses={202: None, **REFUSALS}, tags=["webhooks"])
    def post(self, request: Request, organization_id: str, endpoint_id: str) -> Response:
        """Send a test message; the log of deliveries says what became of it."""
        services.send_test(endpoint=endpoint_for(user_of(request), organization_id, endpoint_id))
        return Response(status=status.HTTP_202_ACCEPTED)


@extend_schema_view(
    get=extend_schema(
        operation_id="webhooks_deliveries",
        responses={200: DeliverySerializer(many=True), **REFUSALS},
        tags=["webhooks"],
    )
)
class DeliveriesView(generics.ListAPIView[Delivery]):
    """What was sent to an endpoint in the last thirty days, newest first."""

    serializer_class = DeliverySerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[Delivery]":
        names = self.kwargs
        return Delivery.objects.for_log(
            endpoint_for(user_of(self.request), names["organization_id"], names["endpoint_id"])
        )


class ResendView(APIView):
    """A message that is to be delivered again."""

    @extend_schema(operation_id="webhooks_resend", request=None, responses={202: None, **REFUSALS}, tags=["webhooks"])
    def post(self, request: Request, organization_id: str, endpoint_id: str, delivery_id: str) -> Response:
        """Deliver a message again now, whatever became of it."""
        services.resend(delivery=delivery_for(user_of(request), organization_id, endpoint_id, delivery_id))
        return Response(status=status.HTTP_202_ACCEPTED)

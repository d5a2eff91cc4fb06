"""Models over the REST API."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.permissions import AllowAny

from accounts.api import PROJECT_PARAMETER, project_of
from catalog.models import Availability, HostedModel
from common.api import REFUSALS, KeysetPagination


class ModelSerializer(serializers.ModelSerializer[HostedModel]):
    """A model that can be called. Prices are nano-dollars (1e-9 USD) per million tokens; zero is free."""

    id = serializers.CharField(source="public_name", help_text="What to put into `model` of a request.")
    description = serializers.CharField(source="about")
    availability = serializers.ChoiceField(
        Availability.choices, help_text="How much of what serves the model answered the last check."
    )

    aliases = serializers.ListField(
        child=serializers.CharField(), source="other_names", help_text="What else may be put into `model`."
    )

    is_in_plan = serializers.SerializerMethodField(
        help_text="Whether the plan of the project's organization includes it; keys there can use no model that it "
        "leaves out. Always true without a plan, and for who is not signed in."
    )

    successor = serializers.CharField(
        source="successor.public_name",
        default=None,
        allow_null=True,
        help_text="What to use instead once it is deprecated.",
    )

    class Meta:
        model = HostedModel
        fields = [
            "id", "aliases", "description", "context_window", "max_output_tokens", "input_price_nano",
            "output_price_nano", "uses", "availability", "deprecated_on", "retires_on", "successor",
            "is_demonstration", "is_in_plan", "created_at",
        ]  # fmt: skip

    def get_is_in_plan(self, model: HostedModel) -> bool:
        return not model.is_left_out


@extend_schema_view(
    get=extend_schema(
        operation_id="models_list",
        parameters=[PROJECT_PARAMETER],
        responses={200: ModelSerializer(many=True), **REFUSALS},
        tags=["models"],
    )
)
class ModelsView(generics.ListAPIView[HostedModel]):
    """Every model that can be called here, newest first.

    To who is signed in, prices are those of the plan that the organization of the project is on, and models that the
    plan is not for say so.
    """

    serializer_class = ModelSerializer
    permission_classes = [AllowAny]
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[HostedModel]":
        return HostedModel.objects.for_models_page()

    def paginate_queryset(self, queryset: Any) -> list[Any]:
        """The models of the page as they are to the reader's organization."""
        plan = project_of(self.request).organization.plan if self.request.user.is_authenticated else None
        return [model.under(plan) for model in super().paginate_queryset(queryset) or ()]

"""The plan of an organization over the REST API."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import organization_for
from accounts.api import checked, refusals_as_conflicts, require_unbound, user_of
from accounts.limits.api import LimitsSerializer
from accounts.models import Organization, Plan
from accounts.plans.services import choose_plan
from accounts.roles import Right
from catalog.models import HostedModel
from common.api import CONFLICT, REFUSALS
from usage.plans.offers import offer_of

TAGS = ["limits"]


class PricedModelSerializer(serializers.ModelSerializer[HostedModel]):
    """A model at its price in a plan: nano-dollars (1e-9 USD) per million tokens; zero is free."""

    id = serializers.CharField(source="public_name")

    class Meta:
        model = HostedModel
        fields = ["id", "input_price_nano", "output_price_nano"]


class PlanLimitsSerializer(LimitsSerializer):
    """The same without percentages: people are told at those of their organization."""

    alert_percents = None  # type: ignore[assignment]  # as Django REST framework leaves out what is inherited


class PlanSerializer(serializers.Serializer[Any]):
    """What a plan allows an organization as a whole, beside the limits that the organization sets itself."""

    id = serializers.CharField(source="plan.public_id")
    name = serializers.CharField(source="plan.name")
    description = serializers.CharField(source="plan.description")
    limits = PlanLimitsSerializer(source="plan")
    models = PricedModelSerializer(many=True)


class OrganizationPlanSerializer(serializers.Serializer[Any]):
    """The plan of an organization, null for none, and the plans that it may choose."""

    plan = PlanSerializer(allow_null=True)
    choices = PlanSerializer(many=True)


class ChosenPlanSerializer(serializers.Serializer[Any]):
    plan = serializers.CharField(help_text="The id of one of the `choices`.")

    def validate_plan(self, plan_id: str) -> Plan:
        # PostgreSQL holds no NUL, and would say so with an error.
        plan = Plan.objects.to_choose().filter(public_id=plan_id.replace("\0", "")).first()
        if plan is None:
            raise serializers.ValidationError(f"{plan_id} is no plan that can be chosen.")
        return plan


class OrganizationPlanView(APIView):
    """The plan of an organization."""

    @extend_schema(
        operation_id="organizations_plan", responses={200: OrganizationPlanSerializer, **REFUSALS}, tags=TAGS
    )
    def get(self, request: Request, organization_id: str) -> Response:
        """The plan of an organization you belong to, and those that its owners and admins may choose."""
        return Response(_shown(organization_for(user_of(request), organization_id)))

    @extend_schema(
        operation_id="organizations_plan_choose",
        request=ChosenPlanSerializer,
        responses={200: OrganizationPlanSerializer, **REFUSALS, **CONFLICT},
        tags=TAGS,
    )
    def put(self, request: Request, organization_id: str) -> Response:
        """Choose another plan. Calls feel it at once; those that are running end as they began."""
        organization = organization_for(user_of(request), organization_id, to=Right.MANAGE_ORGANIZATION)
        # Who took a key that is bound must not lift what bounds it.
        require_unbound(request)
        plan = checked(ChosenPlanSerializer, request)["plan"]
        with refusals_as_conflicts():
            choose_plan(organization=organization, plan=plan, by=user_of(request))
        organization.refresh_from_db()
        return Response(_shown(organization))


def _shown(organization: Organization) -> dict[str, Any]:
    models = list(HostedModel.objects.offered().order_by("public_name"))
    plan = organization.plan
    choices = Plan.objects.to_choose() if organization.may_choose_plan else Plan.objects.none()
    shown = {
        "plan": None if plan is None else offer_of(plan, models),
        "choices": [offer_of(choice, models) for choice in choices],
    }
    return dict(OrganizationPlanSerializer(shown).data)

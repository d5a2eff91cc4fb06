"""Credits over the REST API."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import organization_for
from accounts.api import user_of
from accounts.roles import Right
from common.api import REFUSALS
from usage.credits.services import Balance, balance_of
from usage.models import CreditGrant


class GrantSerializer(serializers.ModelSerializer[CreditGrant]):
    """Credits that were granted. Amounts are in nano-dollars (1e-9 USD)."""

    id = serializers.CharField(source="public_id")
    amount_nano_usd = serializers.IntegerField(source="amount_nano")
    used_nano_usd = serializers.IntegerField(source="used_nano", help_text="What calls drew, seconds after each.")
    left_nano_usd = serializers.IntegerField(
        source="left_nano", help_text="What calls can still draw: none once it expired or was revoked."
    )
    granted_at = serializers.DateTimeField(source="at")
    revoked_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        model = CreditGrant
        fields = [
            "id", "reason", "amount_nano_usd", "used_nano_usd", "left_nano_usd", "granted_at", "expires_at",
            "revoked_at",
        ]  # fmt: skip


class BalanceSerializer(serializers.Serializer[Balance]):
    """An organization's credits, which pay for its calls before its budgets do."""

    left_nano_usd = serializers.IntegerField(source="left_nano")
    grants: Any = GrantSerializer(
        many=True, help_text="Those with something left first, in the order they are drawn on."
    )


class CreditsView(APIView):
    """The credits of an organization whose usage you see."""

    @extend_schema(operation_id="organizations_credits", responses={200: BalanceSerializer, **REFUSALS}, tags=["usage"])
    def get(self, request: Request, organization_id: str) -> Response:
        organization = organization_for(user_of(request), organization_id, to=Right.SEE_USAGE)
        return Response(BalanceSerializer(balance_of(organization)).data)

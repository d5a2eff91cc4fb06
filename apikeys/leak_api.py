"""Reporting a found key over the REST API, without an account."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from apikeys.leak_forms import MOST_TEXT_CHARACTERS
from apikeys.leak_views import PERIOD_SECONDS, reports_too_often
from apikeys.leaks import MOST_PLACE_CHARACTERS, Way, report_leak
from apikeys.verification import find_keys
from common.api import REFUSALS


class ReportSerializer(serializers.Serializer[dict[str, str]]):
    key = serializers.CharField(
        max_length=MOST_TEXT_CHARACTERS, write_only=True, help_text="The key, or the lines it stands in."
    )
    found_at = serializers.CharField(
        max_length=MOST_PLACE_CHARACTERS, required=False, default="", allow_blank=True, help_text="Where it was found."
    )

    def validate_key(self, text: str) -> str:
        if not find_keys(text):
            raise serializers.ValidationError("There is no key of this portal in it.", code="no_key")
        return text


class ThanksSerializer(serializers.Serializer[dict[str, str]]):
    detail = serializers.CharField()


class ReportThrottle(BaseThrottle):
    def allow_request(self, request: Request, view: APIView) -> bool:
        return not reports_too_often()

    def wait(self) -> float:
        return PERIOD_SECONDS


class LeaksView(APIView):
    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    throttle_classes = [ReportThrottle]

    @extend_schema(
        operation_id="leaks_report",
        request=ReportSerializer,
        responses={202: ThanksSerializer, **REFUSALS},
        auth=[],
        tags=["leaks"],
    )
    def post(self, request: Request) -> Response:
        """Report a key that you found. Its owners are told, and it is revoked where they want that.

        The answer is the same for a key that works, one that was revoked and one that never was.
        """
        report = ReportSerializer(data=request.data)
        report.is_valid(raise_exception=True)
        report_leak(text=report.validated_data["key"], found_at=report.validated_data["found_at"], way=Way.API)
        return Response({"detail": "Thank you. If the key still worked, its owners know now."}, status=202)

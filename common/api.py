"""What every endpoint under /api/ shares: how a list is paged and how an error reads."""

from http import HTTPStatus
from typing import Any

from django.db.models import Model
from django.http import JsonResponse
from rest_framework import serializers
from rest_framework.exceptions import APIException, ErrorDetail
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView, exception_handler

from common.context import current_request_id
from common.paging import Page, keyset_page

PROBLEM_TYPE = "application/problem+json"


def problem(exception: Exception, context: dict[str, Any]) -> Response | None:
    """Every error as problem details (RFC 9457); None for what is no refusal but a fault of ours."""
    response = exception_handler(exception, context)
    if response is None:
        return None
    code = response.status_code
    errors = list(_errors(response.data, ""))
    named = any(error["field"] for error in errors)
    detail = " ".join(error["detail"] for error in errors)
    response.data = {
        **_details(code, detail, errors[0]["code"] if errors else "error"),
        **({"errors": errors} if named else {}),
    }
    response.content_type = PROBLEM_TYPE
    return response


def problem_response(status: int, detail: str, *, code: str) -> JsonResponse:
    """The answer to what is refused before it comes to an endpoint, in the words of every other."""
    return JsonResponse(_details(status, detail, code), status=status, content_type=PROBLEM_TYPE)


def _details(status: int, detail: str, code: str) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": current_request_id.get(),
    }


def _errors(data: Any, field: str) -> list[dict[str, str]]:
    """The leaves of what the framework reports, each with the dotted path of its field."""
    if isinstance(data, ErrorDetail):
        return [{"field": field, "detail": str(data), "code": data.code or "error"}]
    found: list[dict[str, str]] = []
    pairs = data.items() if isinstance(data, dict) else [("", value) for value in data]
    for name, value in pairs:
        inner = "" if name in {"detail", "non_field_errors", ""} else str(name)
        found += _errors(value, ".".join(part for part in (field, inner) if part))
    return found


class ProblemFieldSerializer(serializers.Serializer[dict[str, Any]]):
    """What is wrong with one field."""

    field = serializers.CharField(allow_blank=True, help_text="Its dotted path; empty for the whole.")
    detail = serializers.CharField()
    code = serializers.CharField()


class ProblemSerializer(serializers.Serializer[dict[str, Any]]):
    """Problem details (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField(help_text="A word that stays the same when texts change.")
    request_id = serializers.CharField(allow_blank=True)
    # The standard's name; the framework takes declared fields off the class, so its own `errors` stays.
    errors = ProblemFieldSerializer(  # type: ignore[assignment]
        many=True, required=False, help_text="Given when fields are to blame."
    )


REFUSALS: dict[Any, Any] = {(code, PROBLEM_TYPE): ProblemSerializer for code in (400, 401, 403, 404, 415, 429)}
"""How an endpoint can refuse, for its schema."""
CONFLICT: dict[Any, Any] = {(409, PROBLEM_TYPE): ProblemSerializer}
"""And one whose act does not fit how things stand."""


class ConflictError(APIException):
    """What the rights allow and the state of things does not."""

    status_code = HTTPStatus.CONFLICT
    default_code = "conflict"


class KeysetPagination(BasePagination):
    """Pages by keyset. A view says in `keyset_by` which column orders it, greatest first.

    `cursor` comes from `next` or `previous` of an earlier page; `limit` is 1 to 100.
    """

    size = 25
    most = 100

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any] | None:
        self.url = request.build_absolute_uri()
        page: Page[Model] = keyset_page(
            queryset,
            by=getattr(view, "keyset_by", "created_at"),
            cursor=request.query_params.get("cursor"),
            size=self._limit(request),
        )
        self.page = page
        return page.items

    def _limit(self, request: Request) -> int:
        try:
            asked = int(request.query_params.get("limit", self.size))
        except ValueError:
            asked = 0
        if not 1 <= asked <= self.most:
            raise serializers.ValidationError({"limit": f"Ask for 1 to {self.most} at a time."})
        return asked

    def _link(self, cursor: str | None) -> str | None:
        return replace_query_param(self.url, "cursor", cursor) if cursor else None

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {
                "object": "list",
                "data": data,
                "next": self._link(self.page.older),
                "previous": self._link(self.page.newer),
            }
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["object", "data", "next", "previous"],
            "properties": {
                "object": {"type": "string", "const": "list"},
                "data": schema,
                "next": {**link, "description": "The page of older rows."},
                "previous": {**link, "description": "The page of newer rows."},
            },
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        return [
            {
                "name": "cursor",
                "in": "query",
                "schema": {"type": "string"},
                "description": "From `next` or `previous` of an earlier page.",
            },
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": self.most, "default": self.size},
            },
        ]

"""Usage over the REST API: the report of the usage page, and the ledger behind it."""

from dataclasses import asdict, fields
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import cohort_for
from accounts.api import PROJECT_PARAMETER, project_of, user_of
from accounts.cohorts.api import RosterView
from accounts.projects.api import PlaceSerializer
from common.api import REFUSALS, KeysetPagination
from common.zones import zone_named
from inference.endpoints import ENDPOINTS
from usage import log
from usage.allowances import Allowance, allowance_of, allowances_of
from usage.bounds import bounds_of
from usage.histograms import Percentiles
from usage.models import Source, UsageEvent
from usage.outcomes import Outcome, is_outcome
from usage.problems import problem_in_words
from usage.reports import Group, KeyState, Narrowing, Report, Sums, Window, usage_report
from usage.sight import sights


class QuestionSerializer(serializers.Serializer[dict[str, Any]]):
    """What may be asked of a report."""

    window = serializers.ChoiceField(Window.choices, default=Window.MONTH, help_text=_("How far back; it ends now."))
    group_by = serializers.ChoiceField(Group.choices, default=Group.MODEL)
    model = serializers.CharField(required=False, help_text=_("Only calls of this model."))
    key = serializers.CharField(
        required=False, help_text=_("Only calls with the key of this id, or `playground` for those of the playground.")
    )
    member = serializers.CharField(
        required=False, help_text=_("Only calls that the person of this id made without a key, or with keys they made.")
    )
    endpoint = serializers.CharField(required=False, help_text=_("Only calls of this one, such as chat/completions."))
    status = serializers.CharField(
        required=False,
        help_text=_("Only calls that ended so: `answered`, `failed`, `4xx`, `5xx`, or an HTTP status such as `429`."),
    )
    code = serializers.CharField(required=False, help_text=_("Only calls that failed with this error code."))
    time_zone = serializers.CharField(
        required=False, help_text=_("Whose days and hours, as an IANA name; the browser's by default, or else UTC.")
    )

    def validate_status(self, value: str) -> str:
        if not is_outcome(value):
            raise serializers.ValidationError(_("No call ends so. Name an HTTP status, or a kind of them."))
        return value

    def validate_time_zone(self, value: str) -> Any:
        zone = zone_named(value)
        if zone is None:
            raise serializers.ValidationError(_("There is no time zone of that name."))
        return zone


class PercentilesSerializer(serializers.Serializer[Percentiles]):
    """Milliseconds within which 50, 95 and 99 of 100 calls were over, at most a tenth off."""

    p50 = serializers.FloatField()
    p95 = serializers.FloatField()
    p99 = serializers.FloatField()


class SumsSerializer(serializers.Serializer[Sums]):
    """Sums of calls. Costs are in nano-dollars (1e-9 USD). A time is null where nothing was measured."""

    requests = serializers.IntegerField()
    failed = serializers.IntegerField(source="errors")
    input_tokens = serializers.IntegerField(source="prompt_tokens")
    output_tokens = serializers.IntegerField(source="completion_tokens")
    cost_nano_usd = serializers.IntegerField(source="cost_nano")
    mean_latency_ms = serializers.FloatField(allow_null=True)
    mean_first_token_ms = serializers.FloatField(allow_null=True)
    latency_ms = PercentilesSerializer(source="latency", allow_null=True)
    first_token_ms = PercentilesSerializer(source="first_token", allow_null=True)


class GroupSerializer(serializers.Serializer[Any]):
    """One model, key, member, endpoint or status, with its sums in the window and in the period before."""

    id = serializers.CharField()
    name = serializers.CharField(source="name.label")
    hint = serializers.CharField(source="name.hint", allow_blank=True)
    state = serializers.ChoiceField(KeyState.choices, source="name.state")
    sums = SumsSerializer()
    before = SumsSerializer()


class SliceSerializer(serializers.Serializer[Any]):
    """One hour, day or month (five minutes in the last hour), in all and per group."""

    start = serializers.DateTimeField()
    sums = SumsSerializer()
    groups = serializers.DictField(child=SumsSerializer())


class SummarySerializer(serializers.Serializer[Report]):
    """Usage in a window, and how it compares with the period before."""

    window = serializers.ChoiceField(Window.choices)
    group_by = serializers.ChoiceField(Group.choices, source="group")
    time_zone = serializers.CharField(source="zone")
    start = serializers.DateTimeField(source="period.start")
    end = serializers.DateTimeField(source="period.end")
    totals = SumsSerializer()
    before = SumsSerializer()
    groups = GroupSerializer(source="rows", many=True)
    slices = SliceSerializer(many=True)


class SummaryView(APIView):
    """The report of the usage page for a project; of your own calls where you do not see everybody's."""

    @extend_schema(
        operation_id="usage_summary",
        parameters=[PROJECT_PARAMETER, QuestionSerializer],
        responses={200: SummarySerializer, **REFUSALS},
        tags=["usage"],
    )
    def get(self, request: Request) -> Response:
        question = QuestionSerializer(data=request.query_params)
        question.is_valid(raise_exception=True)
        asked = question.validated_data
        report = usage_report(
            sights=sights(user_of(request), [project_of(request)]),
            window=Window(asked["window"]),
            group=Group(asked["group_by"]),
            narrowing=Narrowing(**{field.name: asked.get(field.name) for field in fields(Narrowing)}),
            zone=asked.get("time_zone") or timezone.get_current_timezone(),
            now=timezone.now(),
        )
        return Response(SummarySerializer(report).data)


class CallSerializer(serializers.ModelSerializer[UsageEvent]):
    """One metered call: counts and times, never what was written."""

    input_tokens = serializers.IntegerField(source="prompt_tokens")
    cached_input_tokens = serializers.IntegerField(source="cached_tokens")
    output_tokens = serializers.IntegerField(source="completion_tokens")
    reasoning_tokens = serializers.IntegerField(help_text=_("Of the output."))
    cost_nano_usd = serializers.IntegerField(source="cost_nano")
    problem = serializers.SerializerMethodField(help_text=_("Why it failed, in words; empty when it did not."))

    class Meta:
        model = UsageEvent
        fields = [
            "request_id", "at", "source", "project_id", "key_id", "model", "asked_model", "endpoint", "status",
            "error_code", "problem", "is_streamed", "is_estimated", "input_tokens", "cached_input_tokens",
            "output_tokens", "reasoning_tokens", "cost_nano_usd", "latency_ms", "first_token_ms", "client", "retries",
            "failovers",
        ]  # fmt: skip

    def get_problem(self, event: UsageEvent) -> str:
        return problem_in_words(event)


class CallFilterSerializer(serializers.Serializer[log.Asked]):
    """Which calls a list is to hold."""

    since = serializers.DateTimeField(required=False, help_text="The earliest, by when it began.")
    until = serializers.DateTimeField(required=False, help_text="Those that began before this.")
    model = serializers.CharField(
        required=False, allow_blank=True, max_length=200, help_text="Empty for calls that named no model."
    )
    key = serializers.CharField(required=False, max_length=200, help_text="An id, part of a name, or a hint of a key.")
    member = serializers.CharField(
        required=False,
        max_length=100,
        help_text="An id or part of a name: calls with their keys and in their playground.",
    )
    outcome = serializers.ChoiceField(
        Outcome.choices, required=False, help_text="`failed` is every error but that of a client which hung up."
    )
    code = serializers.CharField(required=False, max_length=60, help_text="Such as `rate_limit_exceeded`.")
    endpoint = serializers.ChoiceField(list(ENDPOINTS), required=False)
    # The framework takes declared fields off the class, so its own `source` stays.
    source = serializers.ChoiceField(Source.choices, required=False)  # type: ignore[assignment]


@extend_schema_view(
    get=extend_schema(
        operation_id="usage_calls",
        parameters=[PROJECT_PARAMETER, CallFilterSerializer],
        responses={200: CallSerializer(many=True), **REFUSALS},
        tags=["usage"],
    )
)
class CallsView(generics.ListAPIView[UsageEvent]):
    """The request log of a project, newest first; only your own calls where you do not see everybody's.

    A call is in it within seconds of its end. What is refused before it is known what it asks, for want of a key that
    works, say, is not.
    """

    serializer_class = CallSerializer
    pagination_class = KeysetPagination
    keyset_by = "at"

    def get_queryset(self) -> "QuerySet[UsageEvent]":
        filters = CallFilterSerializer(data=self.request.query_params)
        filters.is_valid(raise_exception=True)
        seen = sights(user_of(self.request), [project_of(self.request)])
        (found,) = log.calls(seen=seen, asked=log.Asked(**filters.validated_data))
        return found


class CallView(APIView):
    """The call that has this request id, in whichever of your projects: the `x-request-id` of its answer."""

    @extend_schema(operation_id="usage_call", responses={200: CallSerializer, **REFUSALS}, tags=["usage"])
    def get(self, request: Request, request_id: str) -> Response:
        found = log.call_of(user_of(request), request_id)
        if found is None:
            raise Http404
        return Response(CallSerializer(found.event).data)


class AllowanceSerializer(serializers.Serializer[Allowance]):
    """What a cohort allows somebody with all their keys and in the playground together, and what they used of it.

    Amounts are in nano-dollars (1e-9 USD). Null limits nothing of that kind.
    """

    cohort = serializers.CharField(source="cohort.public_id")
    name = serializers.CharField(source="cohort.project.name")
    limit_nano_usd = serializers.IntegerField(
        source="limit_nano", allow_null=True, help_text="Per calendar month in the time zone of the organization."
    )
    used_nano_usd = serializers.IntegerField(source="used_nano", help_text="This month.")
    left_nano_usd = serializers.IntegerField(source="left_nano", allow_null=True)
    renews_at = serializers.DateTimeField(help_text="When a new month begins, if the cohort has not ended by then.")
    ends_at = serializers.DateTimeField(allow_null=True, help_text="When every key of the cohort stops.")
    requests_per_minute = serializers.IntegerField(source="cohort.requests_per_minute", allow_null=True)
    tokens_per_minute = serializers.IntegerField(source="cohort.tokens_per_minute", allow_null=True)
    concurrent_requests = serializers.IntegerField(source="cohort.concurrent_requests", allow_null=True)


class OwnAllowanceSerializer(serializers.Serializer[Any]):
    allowance = AllowanceSerializer(allow_null=True, help_text="Null for who is no participant of a cohort there.")


class AllowanceView(APIView):
    """What is left of your allowance in a project that is a cohort."""

    @extend_schema(
        operation_id="usage_allowance",
        parameters=[PROJECT_PARAMETER],
        responses={200: OwnAllowanceSerializer, **REFUSALS},
        tags=["usage"],
    )
    def get(self, request: Request) -> Response:
        allowance = allowance_of(user_of(request), project_of(request))
        return Response(OwnAllowanceSerializer({"allowance": allowance}).data)


class UsedLimitSerializer(serializers.Serializer[Any]):
    """A limit of a day, a week or a month, called as in the refusals that it leads to."""

    scope = serializers.CharField(help_text="`key`, `member`, `project`, `organization`, `plan` or `model`.")
    scope_id = serializers.CharField()
    name = serializers.CharField(help_text="Such as `requests_per_day` or `monthly_budget_nano`.")
    limit = serializers.IntegerField(help_text="In requests, tokens, seconds or nano-dollars (1e-9 USD).")
    used = serializers.IntegerField(help_text="With what calls that run have reserved until they end.")
    resets_at = serializers.DateTimeField(source="renews_at", help_text="When it begins anew.")


class UsedLimitsSerializer(serializers.Serializer[Any]):
    results = UsedLimitSerializer(many=True)


class LimitsView(APIView):
    """The limits that count the calls of a project, or of one of its keys, with what is used of them.

    Of a project also those of its organization, of the organization's plan and of yours as a member, as far as you may
    see what they count.
    """

    @extend_schema(
        operation_id="usage_limits",
        parameters=[
            PROJECT_PARAMETER,
            OpenApiParameter("key", description="Those of the key of this id instead."),
        ],
        responses={200: UsedLimitsSerializer, **REFUSALS},
        tags=["usage"],
    )
    def get(self, request: Request) -> Response:
        reader = user_of(request)
        found = bounds_of(
            sights=sights(reader, [project_of(request)]),
            narrowing=Narrowing(key=request.query_params.get("key")),
            is_organization_wide=False,
            reader=reader,
        )
        rows = [
            {"scope": bounds.scope, "scope_id": bounds.scope_id, **asdict(meter)}
            for bounds in found
            for meter in bounds.meters
        ]
        return Response(UsedLimitsSerializer({"results": rows}).data)


class PlaceUsageSerializer(PlaceSerializer):
    """A place in a cohort with what its holder used."""

    allowance = AllowanceSerializer(allow_null=True, help_text="Null for those who run the cohort.")


@extend_schema_view(
    get=extend_schema(
        operation_id="cohorts_allowances",
        responses={200: PlaceUsageSerializer(many=True), **REFUSALS},
        tags=["cohorts"],
    )
)
class AllowancesView(RosterView):
    """The roster of a cohort, with what is left to each person."""

    serializer_class = PlaceUsageSerializer

    def get_serializer(self, instance: Any, **kwargs: Any) -> Any:
        cohort = cohort_for(user_of(self.request), self.kwargs["cohort_id"])
        for place, allowance in zip(instance, allowances_of(cohort, instance), strict=True):
            place.allowance = allowance
        return super().get_serializer(instance, **kwargs)

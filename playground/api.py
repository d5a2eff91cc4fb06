"""Runs over the REST API: the playground without its page. Only the owner of a run sees it."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.exceptions import PermissionDenied, Throttled
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import require
from accounts.api import PROJECT_PARAMETER, project_of, user_of
from accounts.roles import Right
from catalog.models import HostedModel
from common.api import REFUSALS, KeysetPagination
from playground import services, tickets
from playground.forms import (
    MOST_ANSWER_TOKENS,
    MOST_CHARACTERS,
    MOST_MESSAGES,
    MOST_SEED,
    MOST_STOPS,
    MOST_TEMPERATURE,
    MOST_TOP_P,
)
from playground.models import Run


class MessageSerializer(serializers.Serializer[dict[str, str]]):
    role = serializers.ChoiceField(choices=["system", "user", "assistant"])
    content = serializers.CharField(trim_whitespace=False)


class ParametersSerializer(serializers.Serializer[dict[str, Any]]):
    """What is left out is not sent: the model's server has its own defaults."""

    temperature = serializers.FloatField(min_value=0, max_value=MOST_TEMPERATURE, required=False)
    top_p = serializers.FloatField(min_value=0, max_value=MOST_TOP_P, required=False)
    max_tokens = serializers.IntegerField(min_value=1, max_value=MOST_ANSWER_TOKENS, required=False)
    seed = serializers.IntegerField(min_value=0, max_value=MOST_SEED, required=False)
    stop = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False), max_length=MOST_STOPS, required=False
    )


class RunSummarySerializer(serializers.ModelSerializer[Run]):
    """A run without its texts."""

    id = serializers.CharField(source="public_id")
    model = serializers.CharField(source="model_name")

    class Meta:
        model = Run
        fields = [
            "id", "title", "model", "status", "error_code", "finish_reason", "request_id", "prompt_tokens",
            "completion_tokens", "cost_nano", "created_at", "started_at", "first_token_at", "finished_at",
        ]  # fmt: skip


class RunSerializer(RunSummarySerializer):
    """A run as it stands. `output` is complete when `status` is `succeeded`; `stream` shows it being written."""

    messages = MessageSerializer(many=True)
    parameters = ParametersSerializer()
    stream = serializers.SerializerMethodField(
        help_text="Address of server-sent events, good for a few minutes; null when the run is over."
    )

    class Meta(RunSummarySerializer.Meta):
        fields = [
            *RunSummarySerializer.Meta.fields, "messages", "parameters", "output", "reasoning", "error_message",
            "stream",
        ]  # fmt: skip

    def get_stream(self, run: Run) -> str | None:
        if run.is_finished:
            return None
        request: Request = self.context["request"]
        path = tickets.stream_path(run_id=run.public_id, user_id=user_of(request).public_id)
        return str(request.build_absolute_uri(path))


class NewRunSerializer(serializers.Serializer[dict[str, Any]]):
    """What to run."""

    model = serializers.CharField()
    messages = serializers.ListField(child=MessageSerializer(), min_length=1, max_length=MOST_MESSAGES)
    parameters = ParametersSerializer(required=False, default=dict)

    def validate_model(self, value: str) -> str:
        if not HostedModel.objects.for_chat().in_plan(self.context["plan"]).filter(public_name=value).exists():
            raise serializers.ValidationError(f"{value} is not offered here.")
        return value

    def validate_messages(self, value: list[dict[str, str]]) -> list[dict[str, str]]:
        if value[-1]["role"] != "user":
            raise serializers.ValidationError("The last message must be the user's.")
        if sum(len(message["content"]) for message in value) > MOST_CHARACTERS:
            raise serializers.ValidationError(f"All messages together may have {MOST_CHARACTERS} characters.")
        return value


def _run_of(request: Request, run_id: str) -> Run:
    return get_object_or_404(Run.objects.of(user_of(request)), public_id=run_id)


@extend_schema_view(
    get=extend_schema(
        operation_id="runs_list",
        responses={200: RunSummarySerializer(many=True), **REFUSALS},
        tags=["playground"],
    )
)
class RunsView(generics.ListAPIView[Run]):
    """Your runs of the playground, newest first."""

    serializer_class = RunSummarySerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[Run]":
        return Run.objects.for_history(user_of(self.request))

    @extend_schema(
        operation_id="runs_start",
        parameters=[PROJECT_PARAMETER],
        request=NewRunSerializer,
        responses={201: RunSerializer, **REFUSALS},
        tags=["playground"],
    )
    def post(self, request: Request) -> Response:
        """Start a run. It waits for a worker, then streams; how it ends is in the run."""
        project = project_of(request)
        asked = NewRunSerializer(data=request.data, context={"plan": project.organization.plan})
        asked.is_valid(raise_exception=True)
        try:
            run = services.start_run(
                user=user_of(request),
                project=require(user_of(request), project, Right.MAKE_KEYS),
                model=asked.validated_data["model"],
                messages=[dict(message) for message in asked.validated_data["messages"]],
                parameters=dict(asked.validated_data["parameters"]),
            )
        except services.ProjectEndedError:
            raise PermissionDenied("The project has ended. Name another one.", code="project_ended") from None
        except services.TooManyRunsError:
            raise Throttled(
                detail=f"You have {services.MOST_UNFINISHED_RUNS} runs under way. Wait until one ends, or stop one."
            ) from None
        return Response(RunSerializer(run, context={"request": request}).data, status=status.HTTP_201_CREATED)


class RunView(APIView):
    """One run."""

    @extend_schema(operation_id="runs_read", responses={200: RunSerializer, **REFUSALS}, tags=["playground"])
    def get(self, request: Request, run_id: str) -> Response:
        """A run as it stands."""
        return Response(RunSerializer(_run_of(request, run_id), context={"request": request}).data)

    @extend_schema(operation_id="runs_delete", responses={204: None, **REFUSALS}, tags=["playground"])
    def delete(self, request: Request, run_id: str) -> Response:
        """Remove a run and its texts for good. What it used stays counted."""
        services.delete_run(run=_run_of(request, run_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class RunStopView(APIView):
    """The end of a run before its end."""

    @extend_schema(operation_id="runs_stop", request=None, responses={202: None, **REFUSALS}, tags=["playground"])
    def post(self, request: Request, run_id: str) -> Response:
        """Ask a run to stop. The text written so far is kept; a finished run stays as it is."""
        services.request_stop(run=_run_of(request, run_id))
        return Response(status=status.HTTP_202_ACCEPTED)

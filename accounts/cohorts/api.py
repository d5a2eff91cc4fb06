"""Cohorts over the REST API."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import cohort_for, organization_for
from accounts.api import checked, refusals_as_conflicts, require_unbound, user_of
from accounts.cohorts import services
from accounts.invitations.api import JoinLinkSerializer
from accounts.invitations.links import MOST_PLACES, switch_join_link
from accounts.limits.api import LimitsSerializer
from accounts.models import Cohort, ProjectMembership
from accounts.projects.api import PlaceSerializer
from accounts.roles import Right
from common.api import CONFLICT, REFUSALS, KeysetPagination
from common.limits import ALERTS, LIMITS
from common.moments import check_nearness

TAGS = ["cohorts"]


class CohortSerializer(serializers.ModelSerializer[Cohort]):
    """A course or a hackathon. Its limits are the allowance of each participant; null sets none of that kind."""

    id = serializers.CharField(source="public_id")
    name = serializers.CharField(source="project.name")
    project = serializers.CharField(source="project.public_id")
    ends_at = serializers.DateTimeField(source="project.ends_at", allow_null=True)
    is_live = serializers.BooleanField(source="project.is_live", help_text="Whether its keys can work.")
    join_link = JoinLinkSerializer()

    class Meta:
        model = Cohort
        fields = ["id", "name", "project", "ends_at", "is_live", "join_link", *LIMITS, ALERTS, "created_at"]


class NewCohortSerializer(LimitsSerializer):
    name = serializers.CharField(max_length=80)
    ends_at = serializers.DateTimeField(validators=[check_nearness], help_text="When every key of it stops working.")
    most_joins = serializers.IntegerField(
        min_value=1, max_value=MOST_PLACES, help_text="How many people its join link lets in."
    )


class CohortChangeSerializer(NewCohortSerializer):
    is_link_on = serializers.BooleanField(default=True, help_text="False lets nobody in any more; who is in stays.")


@extend_schema_view(
    get=extend_schema(operation_id="cohorts_list", responses={200: CohortSerializer(many=True), **REFUSALS}, tags=TAGS)
)
class CohortsView(generics.ListAPIView[Cohort]):
    """The cohorts of an organization, newest first."""

    serializer_class = CohortSerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[Cohort]":
        organization_id = self.kwargs["organization_id"]
        organization = organization_for(user_of(self.request), organization_id, to=Right.MANAGE_PEOPLE)
        return Cohort.objects.for_list(organization).select_related("join_link__project")

    @extend_schema(
        operation_id="cohorts_create",
        request=NewCohortSerializer,
        responses={201: CohortSerializer, **REFUSALS},
        tags=TAGS,
    )
    def post(self, request: Request, organization_id: str) -> Response:
        """Make a cohort: a closed project with a join link."""
        organization = organization_for(user_of(request), organization_id, to=Right.MANAGE_PEOPLE)
        require_unbound(request)
        answers = _with_limits(checked(NewCohortSerializer, request))
        cohort = services.create_cohort(organization=organization, by=user_of(request), **answers)
        return Response(CohortSerializer(cohort).data, status=status.HTTP_201_CREATED)


class CohortView(APIView):
    """One cohort."""

    @extend_schema(operation_id="cohorts_read", responses={200: CohortSerializer, **REFUSALS}, tags=TAGS)
    def get(self, request: Request, cohort_id: str) -> Response:
        """A cohort."""
        return Response(CohortSerializer(cohort_for(user_of(request), cohort_id)).data)

    @extend_schema(
        operation_id="cohorts_change",
        request=CohortChangeSerializer,
        responses={200: CohortSerializer, **REFUSALS, **CONFLICT},
        tags=TAGS,
    )
    def patch(self, request: Request, cohort_id: str) -> Response:
        """Change a cohort; what is left out stays as it is. An end that is past closes it, a later one opens it."""
        user = user_of(request)
        cohort = cohort_for(user, cohort_id)
        require_unbound(request)
        asked = checked(CohortChangeSerializer, request, partial=True)
        is_link_on = asked.pop("is_link_on", None)
        now = {
            "name": cohort.project.name,
            "ends_at": cohort.project.ends_at,
            "most_joins": cohort.join_link.most_joins,
            **{limit: getattr(cohort, limit) for limit in (*LIMITS, ALERTS)},
        }
        with refusals_as_conflicts():
            services.change_cohort(cohort=cohort, by=user, **_with_limits({**now, **asked}))
        if is_link_on is not None:
            switch_join_link(link=cohort.join_link, is_on=is_link_on, by=user)
        return Response(CohortSerializer(cohort_for(user, cohort_id)).data)


@extend_schema_view(
    get=extend_schema(operation_id="cohorts_roster", responses={200: PlaceSerializer(many=True), **REFUSALS}, tags=TAGS)
)
class RosterView(generics.ListAPIView[ProjectMembership]):
    """Everybody in a cohort, with addresses, the one who joined last first."""

    serializer_class = PlaceSerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[ProjectMembership]":
        cohort = cohort_for(user_of(self.request), self.kwargs["cohort_id"])
        return ProjectMembership.objects.for_members_page(cohort.project)

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "sees_addresses": True}


def _with_limits(answers: dict[str, Any]) -> dict[str, Any]:
    """The answers as the services take them."""
    limits = {name: answers.pop(name) for name in (*LIMITS, ALERTS) if name in answers}
    return {**answers, "limits": limits}

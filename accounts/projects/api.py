"""Projects, the places in them and their service accounts over the REST API."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import (
    membership_for,
    organization_for,
    place_for,
    project_for,
    rights_in_organization,
    service_account_for,
)
from accounts.api import SEARCH_PARAMETER, PersonSerializer, checked, refusals_as_conflicts, user_of
from accounts.models import Project, ProjectMembership, ServiceAccount
from accounts.projects import services
from accounts.roles import ProjectRole, Right
from common.api import CONFLICT, REFUSALS, KeysetPagination
from common.moments import check_nearness

TAGS = ["projects"]
SERVICE_TAGS = ["service accounts"]


class ProjectSerializer(serializers.ModelSerializer[Project]):
    """A project. Once it is archived or has ended, none of its keys works."""

    id = serializers.CharField(source="public_id")
    organization = serializers.CharField(source="organization.public_id")

    class Meta:
        model = Project
        fields = ["id", "organization", "name", "is_open", "ends_at", "archived_at", "created_at"]


class NewProjectSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    is_open = serializers.BooleanField(
        default=True, help_text="Whether every member and viewer of the organization takes part."
    )
    ends_at = serializers.DateTimeField(
        default=None,
        allow_null=True,
        validators=[check_nearness],
        help_text="When its keys stop working; null for never.",
    )


class ProjectChangeSerializer(NewProjectSerializer):
    is_archived = serializers.BooleanField(default=False, help_text="True archives the project, false restores it.")


class PlaceSerializer(PersonSerializer):
    """A person's place in a project, beside what their role in the organization gives them there."""

    role = serializers.ChoiceField(ProjectRole.choices)
    added_at = serializers.DateTimeField(source="created_at")

    id = serializers.CharField(source="membership.user.public_id")
    name = serializers.CharField(source="membership.user.display_name")

    def get_email(self, row: Any) -> str | None:
        return super().get_email(row.membership)


class ProjectRoleSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(ProjectRole.choices)


class ServiceAccountSerializer(serializers.ModelSerializer[ServiceAccount]):
    """A program's place in a project."""

    id = serializers.CharField(source="public_id")
    project = serializers.CharField(source="project.public_id")

    class Meta:
        model = ServiceAccount
        fields = ["id", "project", "name", "description", "created_at"]


class NewServiceAccountSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    description = serializers.CharField(max_length=200, allow_blank=True, default="")


@extend_schema_view(
    get=extend_schema(
        operation_id="projects_list",
        parameters=[
            SEARCH_PARAMETER,
            OpenApiParameter("archived", bool, description="The archived ones instead of those in use."),
        ],
        responses={200: ProjectSerializer(many=True), **REFUSALS},
        tags=TAGS,
    )
)
class ProjectsView(generics.ListAPIView[Project]):
    """The projects of an organization that you see, newest first."""

    serializer_class = ProjectSerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[Project]":
        user, asked = user_of(self.request), self.request.query_params
        organization = organization_for(user, self.kwargs["organization_id"])
        found = Project.objects.for_projects_page(organization, user).select_related("organization")
        found = found.filter(archived_at__isnull=asked.get("archived") != "true")
        return found.filter(name__icontains=asked["q"]) if asked.get("q") else found

    @extend_schema(
        operation_id="projects_create",
        request=NewProjectSerializer,
        responses={201: ProjectSerializer, **REFUSALS},
        tags=TAGS,
    )
    def post(self, request: Request, organization_id: str) -> Response:
        """Make a project."""
        organization = organization_for(user_of(request), organization_id, to=Right.MANAGE_PROJECT)
        asked = checked(NewProjectSerializer, request)
        project = services.create_project(organization=organization, by=user_of(request), **asked)
        return Response(ProjectSerializer(project).data, status=status.HTTP_201_CREATED)


class ProjectView(APIView):
    """One project."""

    @extend_schema(operation_id="projects_read", responses={200: ProjectSerializer, **REFUSALS}, tags=TAGS)
    def get(self, request: Request, project_id: str) -> Response:
        """A project you have a part in."""
        return Response(ProjectSerializer(project_for(user_of(request), project_id)).data)

    @extend_schema(
        operation_id="projects_change",
        request=ProjectChangeSerializer,
        responses={200: ProjectSerializer, **REFUSALS},
        tags=TAGS,
    )
    def patch(self, request: Request, project_id: str) -> Response:
        """Change a project; what is left out stays as it is."""
        project = project_for(user_of(request), project_id, to=Right.MANAGE_PROJECT)
        asked = checked(ProjectChangeSerializer, request, partial=True)
        is_archived = asked.pop("is_archived", None)
        now = {"name": project.name, "is_open": project.is_open, "ends_at": project.ends_at}
        services.change_project(project=project, by=user_of(request), **{**now, **asked})
        if is_archived is not None:
            act = services.archive_project if is_archived else services.restore_project
            act(project=project, by=user_of(request))
        return Response(ProjectSerializer(project_for(user_of(request), project_id)).data)


@extend_schema_view(
    get=extend_schema(
        operation_id="project_members_list",
        parameters=[SEARCH_PARAMETER],
        responses={200: PlaceSerializer(many=True), **REFUSALS},
        tags=TAGS,
    )
)
class ProjectMembersView(generics.ListAPIView[ProjectMembership]):
    """Who was added to a project by name, newest first."""

    serializer_class = PlaceSerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[ProjectMembership]":
        project = project_for(user_of(self.request), self.kwargs["project_id"], to=Right.SEE_PEOPLE)
        self.sees_addresses = _sees_addresses(self.request, project)
        places = ProjectMembership.objects.for_members_page(project)
        query = self.request.query_params.get("q", "")
        return places.matching(query, by_address=self.sees_addresses) if query else places

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "sees_addresses": getattr(self, "sees_addresses", False)}


class ProjectMemberView(APIView):
    """One person's place in a project."""

    @extend_schema(operation_id="project_members_read", responses={200: PlaceSerializer, **REFUSALS}, tags=TAGS)
    def get(self, request: Request, project_id: str, member_id: str) -> Response:
        """A place, by the id of the person."""
        return self._answer(request, place_for(user_of(request), project_id, member_id))

    @extend_schema(
        operation_id="project_members_set",
        request=ProjectRoleSerializer,
        responses={200: PlaceSerializer, **REFUSALS},
        tags=TAGS,
    )
    def put(self, request: Request, project_id: str, member_id: str) -> Response:
        """Add a member of the organization to the project, or change their role in it."""
        user = user_of(request)
        project = project_for(user, project_id, to=Right.MANAGE_PROJECT)
        role = ProjectRole(checked(ProjectRoleSerializer, request)["role"])
        member = membership_for(user, project.organization.public_id, member_id)
        place = services.set_place(project=project, membership=member, role=role, by=user)
        return self._answer(request, place)

    @extend_schema(operation_id="project_members_remove", responses={204: None, **REFUSALS}, tags=TAGS)
    def delete(self, request: Request, project_id: str, member_id: str) -> Response:
        """Take a place back. What the person's role in the organization gives them there stays."""
        place = place_for(user_of(request), project_id, member_id, to=Right.MANAGE_PROJECT)
        services.remove_place(place=place, by=user_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _answer(self, request: Request, place: ProjectMembership) -> Response:
        context = {"sees_addresses": _sees_addresses(request, place.project)}
        return Response(PlaceSerializer(place, context=context).data)


@extend_schema_view(
    get=extend_schema(
        operation_id="service_accounts_list",
        responses={200: ServiceAccountSerializer(many=True), **REFUSALS},
        tags=SERVICE_TAGS,
    )
)
class ServiceAccountsView(generics.ListAPIView[ServiceAccount]):
    """The service accounts of a project, newest first."""

    serializer_class = ServiceAccountSerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[ServiceAccount]":
        project = project_for(user_of(self.request), self.kwargs["project_id"], to=Right.SEE_KEYS)
        return ServiceAccount.objects.for_list(project).select_related("project")

    @extend_schema(
        operation_id="service_accounts_create",
        request=NewServiceAccountSerializer,
        responses={201: ServiceAccountSerializer, **REFUSALS, **CONFLICT},
        tags=SERVICE_TAGS,
    )
    def post(self, request: Request, project_id: str) -> Response:
        """Make a service account."""
        project = project_for(user_of(request), project_id, to=Right.MANAGE_KEYS)
        asked = checked(NewServiceAccountSerializer, request)
        with refusals_as_conflicts():
            account = services.create_service_account(project=project, by=user_of(request), **asked)
        return Response(ServiceAccountSerializer(account).data, status=status.HTTP_201_CREATED)


class ServiceAccountView(APIView):
    """One service account."""

    @extend_schema(
        operation_id="service_accounts_read", responses={200: ServiceAccountSerializer, **REFUSALS}, tags=SERVICE_TAGS
    )
    def get(self, request: Request, account_id: str) -> Response:
        """A service account of a project whose keys you see."""
        return Response(ServiceAccountSerializer(service_account_for(user_of(request), account_id)).data)

    @extend_schema(
        operation_id="service_accounts_change",
        request=NewServiceAccountSerializer,
        responses={200: ServiceAccountSerializer, **REFUSALS, **CONFLICT},
        tags=SERVICE_TAGS,
    )
    def patch(self, request: Request, account_id: str) -> Response:
        """Rename a service account."""
        account = service_account_for(user_of(request), account_id, to=Right.MANAGE_KEYS)
        asked = checked(NewServiceAccountSerializer, request, partial=True)
        now = {"name": account.name, "description": account.description}
        with refusals_as_conflicts():
            services.change_service_account(account=account, by=user_of(request), **{**now, **asked})
        return Response(ServiceAccountSerializer(account).data)

    @extend_schema(operation_id="service_accounts_remove", responses={204: None, **REFUSALS}, tags=SERVICE_TAGS)
    def delete(self, request: Request, account_id: str) -> Response:
        """Remove a service account for good. Its keys are revoked."""
        account = service_account_for(user_of(request), account_id, to=Right.MANAGE_KEYS)
        services.remove_service_account(account=account, by=user_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _sees_addresses(request: Request, project: Project) -> bool:
    return Right.MANAGE_PEOPLE in rights_in_organization(user_of(request), project.organization)

"""Invitations and join links over the REST API."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import invitation_for, join_link_for, organization_for
from accounts.api import checked, refusals_as_conflicts, require_unbound, user_of
from accounts.invitations import links, services
from accounts.invitations.forms import live_projects
from accounts.models import Invitation, JoinLink, JoinState, Organization, Project
from accounts.roles import ProjectRole, Right, Role
from common.api import CONFLICT, REFUSALS, KeysetPagination
from common.moments import check_nearness

TAGS = ["invitations"]
LINK_TAGS = ["join links"]
MOST_PROJECTS = 100


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    """An offer by mail that was not accepted yet. `mailed_at` is null until the mail is sent."""

    id = serializers.CharField(source="public_id")
    projects: serializers.SlugRelatedField[Project] = serializers.SlugRelatedField(
        slug_field="public_id", many=True, read_only=True
    )
    project_role = serializers.ChoiceField(ProjectRole.choices, allow_blank=True)

    class Meta:
        model = Invitation
        fields = ["id", "email", "role", "projects", "project_role", "created_at", "mailed_at", "expires_at"]


class NewInvitationSerializer(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField(Role.choices, default=Role.MEMBER)
    projects = serializers.ListField(
        child=serializers.CharField(), max_length=MOST_PROJECTS, default=list, help_text="Ids of projects to add to."
    )
    project_role = serializers.ChoiceField(ProjectRole.choices, default=ProjectRole.MEMBER)


class JoinLinkSerializer(serializers.ModelSerializer[JoinLink]):
    """A link by which many come in. Whoever has `address` can use it."""

    id = serializers.CharField(source="public_id")
    project = serializers.CharField(source="project.public_id", allow_null=True, default=None)
    project_role = serializers.ChoiceField(ProjectRole.choices, allow_blank=True)
    address = serializers.URLField()
    state = serializers.ChoiceField(JoinState.choices)

    class Meta:
        model = JoinLink
        fields = [
            "id", "name", "role", "project", "project_role", "address", "state", "most_joins", "join_count", "ends_at",
            "created_at",
        ]  # fmt: skip


class NewJoinLinkSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    role = serializers.ChoiceField(links.ROLE_CHOICES, default=Role.MEMBER)
    project = serializers.CharField(default=None, allow_null=True, help_text="Id of a project to add to.")
    project_role = serializers.ChoiceField(links.PROJECT_ROLE_CHOICES, default=ProjectRole.MEMBER)
    most_joins = serializers.IntegerField(min_value=1, max_value=links.MOST_PLACES)
    ends_at = serializers.DateTimeField(validators=[check_nearness])


class JoinLinkSwitchSerializer(serializers.Serializer[Any]):
    is_on = serializers.BooleanField(help_text="False lets nobody in by it any more; who is in stays.")


def _projects(organization: Organization, field: str, ids: list[str]) -> list[Project]:
    found = {project.public_id: project for project in live_projects(organization).filter(public_id__in=ids)}
    if missing := [one for one in ids if one not in found]:
        raise serializers.ValidationError({field: f"The organization has no project {missing[0][:60]} in use."})
    return list(found.values())


@extend_schema_view(
    get=extend_schema(
        operation_id="invitations_list", responses={200: InvitationSerializer(many=True), **REFUSALS}, tags=TAGS
    )
)
class InvitationsView(generics.ListAPIView[Invitation]):
    """The invitations to an organization that were not accepted yet, newest first."""

    serializer_class = InvitationSerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[Invitation]":
        organization_id = self.kwargs["organization_id"]
        return Invitation.objects.for_list(
            organization_for(user_of(self.request), organization_id, to=Right.MANAGE_PEOPLE)
        )

    @extend_schema(
        operation_id="invitations_create",
        request=NewInvitationSerializer,
        responses={201: InvitationSerializer, **REFUSALS, **CONFLICT},
        tags=TAGS,
    )
    def post(self, request: Request, organization_id: str) -> Response:
        """Invite an address by mail for seven days. The answer is the same whether it has an account or not."""
        organization = organization_for(user_of(request), organization_id, to=Right.MANAGE_PEOPLE)
        require_unbound(request)
        asked = checked(NewInvitationSerializer, request)
        with refusals_as_conflicts():
            invitation = services.invite(
                organization=organization,
                email=asked["email"],
                role=Role(asked["role"]),
                projects=_projects(organization, "projects", asked["projects"]),
                project_role=ProjectRole(asked["project_role"]),
                by=user_of(request),
            )
        return Response(InvitationSerializer(invitation).data, status=status.HTTP_201_CREATED)


class InvitationView(APIView):
    """One invitation."""

    @extend_schema(operation_id="invitations_read", responses={200: InvitationSerializer, **REFUSALS}, tags=TAGS)
    def get(self, request: Request, invitation_id: str) -> Response:
        """An invitation that was not accepted yet."""
        return Response(InvitationSerializer(invitation_for(user_of(request), invitation_id)).data)

    @extend_schema(operation_id="invitations_revoke", responses={204: None, **REFUSALS}, tags=TAGS)
    def delete(self, request: Request, invitation_id: str) -> Response:
        """Take an invitation back. Its link stops working."""
        invitation = invitation_for(user_of(request), invitation_id)
        services.revoke_invitation(invitation=invitation, by=user_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class InvitationResendView(APIView):
    """Another mail for an invitation."""

    @extend_schema(
        operation_id="invitations_resend", request=None, responses={202: None, **REFUSALS, **CONFLICT}, tags=TAGS
    )
    def post(self, request: Request, invitation_id: str) -> Response:
        """Mail an invitation once more, with a new link and seven days from now."""
        require_unbound(request)
        with refusals_as_conflicts():
            services.resend_invitation(invitation=invitation_for(user_of(request), invitation_id), by=user_of(request))
        return Response(status=status.HTTP_202_ACCEPTED)


@extend_schema_view(
    get=extend_schema(
        operation_id="join_links_list", responses={200: JoinLinkSerializer(many=True), **REFUSALS}, tags=LINK_TAGS
    )
)
class JoinLinksView(generics.ListAPIView[JoinLink]):
    """The join links of an organization, newest first; those of cohorts are with their cohorts."""

    serializer_class = JoinLinkSerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[JoinLink]":
        organization_id = self.kwargs["organization_id"]
        return JoinLink.objects.for_list(
            organization_for(user_of(self.request), organization_id, to=Right.MANAGE_PEOPLE)
        )

    @extend_schema(
        operation_id="join_links_create",
        request=NewJoinLinkSerializer,
        responses={201: JoinLinkSerializer, **REFUSALS},
        tags=LINK_TAGS,
    )
    def post(self, request: Request, organization_id: str) -> Response:
        """Make a join link."""
        organization = organization_for(user_of(request), organization_id, to=Right.MANAGE_PEOPLE)
        require_unbound(request)
        asked = checked(NewJoinLinkSerializer, request)
        project = _projects(organization, "project", [asked["project"]])[0] if asked["project"] else None
        link = links.create_join_link(
            organization=organization,
            name=asked["name"],
            role=Role(asked["role"]),
            project=project,
            project_role=ProjectRole(asked["project_role"]) if project else None,
            most_joins=asked["most_joins"],
            ends_at=asked["ends_at"],
            by=user_of(request),
        )
        return Response(JoinLinkSerializer(link).data, status=status.HTTP_201_CREATED)


class JoinLinkView(APIView):
    """One join link."""

    @extend_schema(operation_id="join_links_read", responses={200: JoinLinkSerializer, **REFUSALS}, tags=LINK_TAGS)
    def get(self, request: Request, link_id: str) -> Response:
        """A join link."""
        return Response(JoinLinkSerializer(join_link_for(user_of(request), link_id)).data)

    @extend_schema(
        operation_id="join_links_switch",
        request=JoinLinkSwitchSerializer,
        responses={200: JoinLinkSerializer, **REFUSALS},
        tags=LINK_TAGS,
    )
    def patch(self, request: Request, link_id: str) -> Response:
        """Switch a link off, or on again."""
        link = join_link_for(user_of(request), link_id)
        require_unbound(request)
        links.switch_join_link(
            link=link, is_on=checked(JoinLinkSwitchSerializer, request)["is_on"], by=user_of(request)
        )
        return Response(JoinLinkSerializer(join_link_for(user_of(request), link_id)).data)

"""Organizations and their members over the REST API."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import membership_for, organization_for, rights_in_organization
from accounts.api import SEARCH_PARAMETER, PersonSerializer, checked, refusals_as_conflicts, require_unbound, user_of
from accounts.models import Membership, Organization
from accounts.organizations import services
from accounts.roles import Right, Role
from common.api import CONFLICT, REFUSALS, KeysetPagination

TAGS = ["organizations"]


class OrganizationSerializer(serializers.ModelSerializer[Membership]):
    """An organization, and the role you have in it."""

    id = serializers.CharField(source="organization.public_id")
    name = serializers.CharField(source="organization.name")
    is_personal = serializers.BooleanField(source="organization.is_personal")
    created_at = serializers.DateTimeField(source="organization.created_at")

    class Meta:
        model = Membership
        fields = ["id", "name", "is_personal", "role", "created_at"]


class NewOrganizationSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)


class MemberSerializer(PersonSerializer):
    """A member of an organization."""

    role = serializers.ChoiceField(Role.choices)
    joined_at = serializers.DateTimeField(source="created_at")


class RoleSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(Role.choices)


def _own(request: Request, organization: Organization) -> dict[str, Any]:
    mine = Membership.objects.select_related("organization").get(organization=organization, user=user_of(request))
    return OrganizationSerializer(mine).data


@extend_schema_view(
    get=extend_schema(
        operation_id="organizations_list", responses={200: OrganizationSerializer(many=True), **REFUSALS}, tags=TAGS
    )
)
class OrganizationsView(generics.ListAPIView[Membership]):
    """The organizations you belong to, the one you joined last first."""

    serializer_class = OrganizationSerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[Membership]":
        return Membership.objects.filter(user=user_of(self.request)).select_related("organization")

    @extend_schema(
        operation_id="organizations_create",
        request=NewOrganizationSerializer,
        responses={201: OrganizationSerializer, **REFUSALS},
        tags=TAGS,
    )
    def post(self, request: Request) -> Response:
        """Make an organization with a first project. You own it."""
        project = services.create_organization(by=user_of(request), **checked(NewOrganizationSerializer, request))
        return Response(_own(request, project.organization), status=status.HTTP_201_CREATED)


class OrganizationView(APIView):
    """One organization."""

    @extend_schema(operation_id="organizations_read", responses={200: OrganizationSerializer, **REFUSALS}, tags=TAGS)
    def get(self, request: Request, organization_id: str) -> Response:
        """An organization you belong to."""
        return Response(_own(request, organization_for(user_of(request), organization_id)))

    @extend_schema(
        operation_id="organizations_change",
        request=NewOrganizationSerializer,
        responses={200: OrganizationSerializer, **REFUSALS},
        tags=TAGS,
    )
    def patch(self, request: Request, organization_id: str) -> Response:
        """Rename an organization."""
        organization = organization_for(user_of(request), organization_id, to=Right.MANAGE_ORGANIZATION)
        asked = checked(NewOrganizationSerializer, request, partial=True)
        if "name" in asked:
            services.rename_organization(organization=organization, name=asked["name"], by=user_of(request))
        return Response(_own(request, organization))


@extend_schema_view(
    get=extend_schema(
        operation_id="members_list",
        parameters=[SEARCH_PARAMETER],
        responses={200: MemberSerializer(many=True), **REFUSALS},
        tags=TAGS,
    )
)
class MembersView(generics.ListAPIView[Membership]):
    """The members of an organization, newest first."""

    serializer_class = MemberSerializer
    pagination_class = KeysetPagination
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[Membership]":
        user = user_of(self.request)
        organization = organization_for(user, self.kwargs["organization_id"], to=Right.SEE_PEOPLE)
        self.sees_addresses = Right.MANAGE_PEOPLE in rights_in_organization(user, organization)
        people = Membership.objects.for_members_page(organization)
        query = self.request.query_params.get("q", "")
        return people.matching(query, by_address=self.sees_addresses) if query else people

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "sees_addresses": getattr(self, "sees_addresses", False)}


class MemberView(APIView):
    """One member of an organization."""

    @extend_schema(operation_id="members_read", responses={200: MemberSerializer, **REFUSALS}, tags=TAGS)
    def get(self, request: Request, organization_id: str, member_id: str) -> Response:
        """A member, by the id of the person."""
        return self._answer(request, membership_for(user_of(request), organization_id, member_id))

    @extend_schema(
        operation_id="members_change",
        request=RoleSerializer,
        responses={200: MemberSerializer, **REFUSALS, **CONFLICT},
        tags=TAGS,
    )
    def patch(self, request: Request, organization_id: str, member_id: str) -> Response:
        """Give a member another role. Only owners make and unmake owners, and the last owner stays one."""
        member = membership_for(user_of(request), organization_id, member_id, to=Right.MANAGE_PEOPLE)
        require_unbound(request)
        role = Role(checked(RoleSerializer, request)["role"])
        with refusals_as_conflicts():
            services.change_role(membership=member, role=role, by=user_of(request))
        return self._answer(request, membership_for(user_of(request), organization_id, member_id))

    @extend_schema(operation_id="members_remove", responses={204: None, **REFUSALS, **CONFLICT}, tags=TAGS)
    def delete(self, request: Request, organization_id: str, member_id: str) -> Response:
        """Remove a member, or leave with your own id. Keys they made in its projects stop working."""
        user = user_of(request)
        member = membership_for(user, organization_id, member_id, to=Right.MANAGE_PEOPLE)
        with refusals_as_conflicts():
            if member.user_id == user.pk:
                services.leave_organization(membership=member)
            else:
                services.remove_member(membership=member, by=user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _answer(self, request: Request, member: Membership) -> Response:
        rights = rights_in_organization(user_of(request), member.organization)
        return Response(MemberSerializer(member, context={"sees_addresses": Right.MANAGE_PEOPLE in rights}).data)


class TransferView(APIView):
    """The handing over of an organization."""

    @extend_schema(
        operation_id="members_transfer", request=None, responses={204: None, **REFUSALS, **CONFLICT}, tags=TAGS
    )
    def post(self, request: Request, organization_id: str, member_id: str) -> Response:
        """Make a member the owner in your place. You stay as an admin."""
        successor = membership_for(user_of(request), organization_id, member_id, to=Right.OWN)
        require_unbound(request)
        with refusals_as_conflicts():
            services.transfer_ownership(to=successor, by=user_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

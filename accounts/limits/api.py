"""Limits of organizations, projects and members over the REST API."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import managed_member, managed_project, organization_for
from accounts.api import checked, refusals_as_conflicts, require_unbound, user_of
from accounts.limits import services
from accounts.models import Organization
from accounts.roles import Right
from common.api import CONFLICT, REFUSALS
from common.forms import MOST_PERCENTS
from common.limits import LARGEST_COUNT, LARGEST_MONEY, LARGEST_TOKENS, Limited
from common.zones import zone_named

TAGS = ["limits"]


def _limit(most: int, about: str = "", *, least: int = 1) -> serializers.IntegerField:
    return serializers.IntegerField(required=False, allow_null=True, min_value=least, max_value=most, help_text=about)


def _money() -> serializers.IntegerField:
    return _limit(LARGEST_MONEY, "In nano-dollars (1e-9 USD).", least=0)


class LimitsSerializer(serializers.Serializer[Any]):
    """What may be used; null sets no limit of that kind. Days, weeks (from Monday) and months begin anew in the time
    zone of the organization."""

    requests_per_minute = _limit(LARGEST_COUNT)
    tokens_per_minute = _limit(LARGEST_COUNT)
    concurrent_requests = _limit(LARGEST_COUNT)
    requests_per_day = _limit(LARGEST_COUNT)
    tokens_per_day = _limit(LARGEST_TOKENS)
    gpu_seconds_per_day = _limit(LARGEST_COUNT, "The time that servers take for its answers, added up.")
    daily_budget_nano = _money()
    weekly_budget_nano = _money()
    monthly_budget_nano = _money()
    alert_percents = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=100),
        max_length=MOST_PERCENTS,
        required=False,
        help_text="Percentages of a budget at which people are told, 80 and 100 at first; empty for none.",
    )

    def validate_alert_percents(self, percents: list[int]) -> list[int]:
        return sorted(set(percents))


class OrganizationLimitsSerializer(LimitsSerializer):
    """The same for an organization, with where its days begin."""

    time_zone = serializers.CharField(
        required=False, max_length=64, help_text="Such as `Europe/Berlin`. Days, weeks and months begin in it."
    )

    def validate_time_zone(self, name: str) -> str:
        if zone_named(name) is None:
            raise serializers.ValidationError(_("There is no time zone called %(name)s.") % {"name": name})
        return name


class _LimitsView(APIView):
    serializer: type[serializers.Serializer[Any]] = LimitsSerializer

    def _change(self, request: Request, limited: Limited, save: Callable[..., None]) -> Response:
        # Who took a key that is bound must not lift what bounds it.
        require_unbound(request)
        changes = checked(self.serializer, request, partial=True)
        with refusals_as_conflicts():
            save(changes=changes, by=user_of(request))
        return Response(self.serializer(limited).data)


class OrganizationLimitsView(_LimitsView):
    """What all of an organization may use together."""

    serializer = OrganizationLimitsSerializer

    @extend_schema(
        operation_id="organizations_limits", responses={200: OrganizationLimitsSerializer, **REFUSALS}, tags=TAGS
    )
    def get(self, request: Request, organization_id: str) -> Response:
        """The limits of an organization that you manage."""
        return Response(self.serializer(self._found(request, organization_id)).data)

    @extend_schema(
        operation_id="organizations_limits_change",
        request=OrganizationLimitsSerializer,
        responses={200: OrganizationLimitsSerializer, **REFUSALS, **CONFLICT},
        tags=TAGS,
    )
    def patch(self, request: Request, organization_id: str) -> Response:
        """Change them; what is left out stays as it is. Calls feel it at once."""
        organization = self._found(request, organization_id)
        save = partial(services.change_organization_limits, organization=organization)
        return self._change(request, organization, save)

    def _found(self, request: Request, organization_id: str) -> Organization:
        return organization_for(user_of(request), organization_id, to=Right.MANAGE_ORGANIZATION)


class ProjectLimitsView(_LimitsView):
    """What a project may use."""

    @extend_schema(operation_id="projects_limits", responses={200: LimitsSerializer, **REFUSALS}, tags=TAGS)
    def get(self, request: Request, project_id: str) -> Response:
        """The limits of a project of an organization that you manage."""
        return Response(LimitsSerializer(managed_project(user_of(request), project_id)).data)

    @extend_schema(
        operation_id="projects_limits_change",
        request=LimitsSerializer,
        responses={200: LimitsSerializer, **REFUSALS},
        tags=TAGS,
    )
    def patch(self, request: Request, project_id: str) -> Response:
        """Change them; what is left out stays as it is. Calls feel it at once."""
        project = managed_project(user_of(request), project_id)
        return self._change(request, project, partial(services.change_project_limits, project=project))


class MemberLimitsView(_LimitsView):
    """What a member may use, over all projects of the organization."""

    @extend_schema(operation_id="members_limits", responses={200: LimitsSerializer, **REFUSALS}, tags=TAGS)
    def get(self, request: Request, organization_id: str, member_id: str) -> Response:
        """The limits of a member of an organization that you manage."""
        return Response(LimitsSerializer(managed_member(user_of(request), organization_id, member_id)).data)

    @extend_schema(
        operation_id="members_limits_change",
        request=LimitsSerializer,
        responses={200: LimitsSerializer, **REFUSALS},
        tags=TAGS,
    )
    def patch(self, request: Request, organization_id: str, member_id: str) -> Response:
        """Change them; what is left out stays as it is. Calls feel it at once."""
        member = managed_member(user_of(request), organization_id, member_id)
        return self._change(request, member, partial(services.change_member_limits, membership=member))

"""Keys over the REST API: all that their pages do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, cast

from django.db import transaction
from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import organization_for, rights_in
from accounts.api import PROJECT_PARAMETER, project_of, require_unbound, user_of
from accounts.limits.api import LimitsSerializer
from accounts.models import Organization
from accounts.projects.services import open_service_account
from accounts.roles import Right
from apikeys.access import key_for, require_maker, secret_for
from apikeys.forms import MOST_NETWORKS, OVERLAPS
from apikeys.health import Finding, with_finding
from apikeys.listing import KINDS, OWNERS, KeyFilters
from apikeys.models import ApiKey, KeyKind, KeyMakers, KeyPolicy, KeySecret, KeyState
from apikeys.services import (
    RevokedError,
    change_key,
    change_policy,
    disable_key,
    enable_key,
    mint_key,
    mint_management_key,
    retire_secret,
    revoke_key,
    rotate_key,
    shorten_keys,
)
from apikeys.terms import ENDPOINTS_OF_KEYS, TERMS, PolicyViolationError, Terms, WiderThanMakerError
from catalog.models import HostedModel
from common.api import CONFLICT, REFUSALS, ConflictError, KeysetPagination
from common.limits import ALERTS, LARGEST_MONEY, LIMITS
from common.moments import check_nearness
from common.networks import canonical

ORGANIZATION_PARAMETER = OpenApiParameter(
    "organization", str, description="The id of an organization; that of the project in use by default."
)


class NetworksField(serializers.ListField):
    """IP networks in CIDR notation, as they are stored."""

    child = serializers.CharField(max_length=60)

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MOST_NETWORKS, **options)

    def to_internal_value(self, data: Any) -> list[str]:
        networks = []
        for text in super().to_internal_value(data):
            try:
                networks.append(canonical(text))
            except ValueError:
                raise serializers.ValidationError(
                    _("“%(line)s” is no IP address and no network such as 203.0.113.0/24.") % {"line": text}
                ) from None
        return list(dict.fromkeys(networks))


class TermsSerializer(LimitsSerializer):
    """What a key may do and for how long. Empty lists leave nothing out, null is no limit."""

    name = serializers.CharField(max_length=80)
    description = serializers.CharField(max_length=200, allow_blank=True, required=False)
    allowed_models = serializers.ListField(
        child=serializers.CharField(max_length=200), max_length=200, required=False, help_text="Names of models."
    )
    allowed_endpoints = serializers.ListField(
        child=serializers.ChoiceField(list(ENDPOINTS_OF_KEYS)),
        max_length=50,
        required=False,
        help_text="Paths below /v1.",
    )
    allowed_networks = NetworksField(required=False, help_text="Addresses and networks in CIDR notation.")
    is_read_only = serializers.BooleanField(
        required=False, help_text="For management keys: refuse what changes anything."
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, validators=[check_nearness])

    def validate_allowed_models(self, names: list[str]) -> list[str]:
        kept = self.instance.allowed_models if self.instance else []
        unknown = set(names) - set(kept)
        unknown -= set(
            HostedModel.objects.offered().filter(public_name__in=unknown).values_list("public_name", flat=True)
        )
        if unknown:
            raise serializers.ValidationError(
                _("There is no model called %(names)s.") % {"names": ", ".join(sorted(unknown))}
            )
        return list(dict.fromkeys(names))

    def validate_expires_at(self, moment: datetime | None) -> datetime | None:
        kept = self.instance.expires_at if self.instance else None
        if moment is not None and moment != kept and moment <= timezone.now():
            raise serializers.ValidationError(_("Choose a time that is still to come."))
        return moment

    def changes(self) -> dict[str, Any]:
        """The name and the terms, as far as they are given."""
        asked = {name: value for name, value in self.validated_data.items() if name in ("name", *TERMS)}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()}


class NewKeySerializer(TermsSerializer):
    """A key to make. Management keys are made only when signed in, not with a management key.

    A key that is made with a management key has no wider `allowed_networks` and no later `expires_at` than it.
    """

    kind = serializers.ChoiceField(KeyKind.choices, default=KeyKind.PROJECT)
    service_account = serializers.CharField(
        required=False,
        max_length=80,
        help_text="For a service key: the name of the service account, which is made when there is none.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs["kind"] == KeyKind.SERVICE) != ("service_account" in attrs):
            raise serializers.ValidationError(
                {"service_account": _("A service key has a service account, and no other key has one.")}
            )
        return attrs


class SecretSerializer(serializers.ModelSerializer[KeySecret]):
    """What is known of a secret of a key. The newest has no `valid_until`."""

    id = serializers.CharField(source="public_id")
    hint = serializers.CharField()

    class Meta:
        model = KeySecret
        fields = ["id", "hint", "created_at", "valid_until", "last_used_at", "last_used_address", "last_used_agent"]


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    """What is known of a key; its secret is not. Limits that are null are not set."""

    id = serializers.CharField(source="public_id")
    hint = serializers.CharField(help_text="The beginning and the last four characters of the newest secret.")
    state = serializers.ChoiceField(
        KeyState.choices,
        help_text="`stopped`: its owner has left, or may make no keys in the project any more. Calls are refused.",
    )
    project = serializers.CharField(source="project.public_id", default=None, allow_null=True)
    service_account = serializers.CharField(source="service_account.name", default=None, allow_null=True)

    class Meta:
        model = ApiKey
        fields = [
            "id", "kind", "state", "name", "description", "hint", "project", "service_account", "created_at",
            "last_used_at", "disabled_at", "leaked_at", "revoked_at", "allowed_models", "allowed_endpoints",
            "allowed_networks", "is_read_only", "expires_at", *LIMITS, ALERTS,
        ]  # fmt: skip


class KeyDetailSerializer(KeySerializer):
    """The same with its secrets, newest first."""

    secrets = serializers.SerializerMethodField()

    class Meta(KeySerializer.Meta):
        fields = [*KeySerializer.Meta.fields, "secrets"]

    @extend_schema_field(SecretSerializer(many=True))
    def get_secrets(self, key: ApiKey) -> Any:
        return SecretSerializer(key.secrets.order_by("-created_at"), many=True).data


class MintedSerializer(KeySerializer):
    """A key with its secret, which is told this once."""

    secret = serializers.CharField()

    class Meta(KeySerializer.Meta):
        fields = [*KeySerializer.Meta.fields, "secret"]


class RotationSerializer(serializers.Serializer[Any]):
    """How long the old secret works beside the new one."""

    overlap_minutes = serializers.ChoiceField([minutes for minutes, _label in OVERLAPS], default=24 * 60)


class PolicySerializer(serializers.ModelSerializer[KeyPolicy]):
    """What an organization demands of the keys of its projects."""

    longest_lifetime_days = serializers.IntegerField(allow_null=True, min_value=1, max_value=3650)
    default_budget_nano = serializers.IntegerField(
        allow_null=True, min_value=0, max_value=LARGEST_MONEY, help_text="In nano-dollars (1e-9 USD)."
    )
    allowed_networks = NetworksField(help_text="Calls from elsewhere are refused. Empty: from anywhere.")
    makers = serializers.ChoiceField(KeyMakers.choices, help_text="Who may make keys.")

    class Meta:
        model = KeyPolicy
        fields = ["longest_lifetime_days", "default_budget_nano", "allowed_networks", "makers", "revokes_leaked"]


class PolicyStandingSerializer(PolicySerializer):
    """The same, and how the keys that exist stand to it."""

    keys_outliving_it = serializers.SerializerMethodField(
        help_text="How many keys live longer than the policy allows, because they were made before it."
    )

    class Meta(PolicySerializer.Meta):
        fields = [*PolicySerializer.Meta.fields, "keys_outliving_it"]

    def get_keys_outliving_it(self, policy: KeyPolicy) -> int:
        return ApiKey.objects.of_organization(policy.organization).outliving().count()


@contextmanager
def explained() -> Iterator[None]:
    """What a service refuses, as the API tells it."""
    try:
        yield
    except PolicyViolationError as violation:
        raise serializers.ValidationError(violation.faults, code="key_policy") from None
    except WiderThanMakerError as refusal:
        raise serializers.ValidationError(refusal.faults, code="wider_than_your_key") from None
    except RevokedError:
        words = _("This key was revoked, which cannot be undone. Make a new one.")
        raise ConflictError(words, "key_revoked") from None


def management_key_of(request: Request) -> ApiKey | None:
    """What the request is made with; None when its user is signed in."""
    return request.auth if isinstance(request.auth, ApiKey) else None


def require_person(request: Request) -> None:
    """Refuse a management key where management keys are made or changed: one with limits could lift them."""
    if management_key_of(request):
        raise PermissionDenied(
            _("A management key does not make or change management keys. Sign in to the site to do this."),
            code="needs_a_person",
        )


def _minted(key: ApiKey, secret: str, code: int) -> Response:
    # An attribute for the moment of telling it: nothing keeps it.
    key.secret = secret  # type: ignore[attr-defined]
    return Response(MintedSerializer(key).data, status=code, headers={"Cache-Control": "no-store"})


LIST_PARAMETERS = [
    PROJECT_PARAMETER,
    OpenApiParameter("q", str, description="Words of the name or the description, an id, or a hint."),
    OpenApiParameter("kind", str, enum=[*(kind.value for kind in KINDS), KeyKind.MANAGEMENT.value]),
    OpenApiParameter("state", str, enum=KeyState.values),
    OpenApiParameter("owner", str, enum=list(OWNERS)),
]


class KeysView(generics.GenericAPIView[ApiKey]):
    """The keys of a project, newest first; with `kind=management` your own management keys."""

    pagination_class = KeysetPagination
    serializer_class = KeySerializer
    keyset_by = "created_at"

    def get_queryset(self) -> "QuerySet[ApiKey]":
        user = user_of(self.request)
        if self.request.query_params.get("kind") == KeyKind.MANAGEMENT:
            return ApiKey.objects.of_person(user)
        project = project_of(self.request)
        keys = ApiKey.objects.for_keys_page(project, user, rights_in(user, project)).select_related(
            "project", "service_account"
        )
        return KeyFilters.read(self.request.query_params.dict()).apply(keys, user)

    @extend_schema(
        operation_id="keys_list",
        parameters=LIST_PARAMETERS,
        responses={200: KeySerializer(many=True), **REFUSALS},
        tags=["keys"],
    )
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(KeySerializer(page, many=True).data)

    @extend_schema(
        operation_id="keys_create",
        parameters=[PROJECT_PARAMETER],
        request=NewKeySerializer,
        responses={201: MintedSerializer, **REFUSALS},
        tags=["keys"],
    )
    def post(self, request: Request) -> Response:
        """Make a key. The answer holds its secret, which is never told again."""
        asked = NewKeySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        with explained(), transaction.atomic():
            key, secret = self._mint(request, asked)
        return _minted(key, secret, status.HTTP_201_CREATED)

    def _mint(self, request: Request, asked: NewKeySerializer) -> tuple[ApiKey, str]:
        user, terms = user_of(request), asked.changes()
        name = terms.pop("name")
        if asked.validated_data["kind"] == KeyKind.MANAGEMENT:
            require_person(request)
            return mint_management_key(owner=user, name=name, terms=Terms(**terms))
        project = project_of(request)
        rights = rights_in(user, project)
        policy = require_maker(project, rights)
        service = asked.validated_data.get("service_account")
        if service and Right.MANAGE_KEYS not in rights:
            raise serializers.ValidationError(
                {"service_account": _("Only who manages the keys makes those of services.")}
            )
        return mint_key(
            project=project,
            name=name,
            by=user,
            service_account=open_service_account(project=project, name=service, by=user) if service else None,
            terms=Terms(**{"monthly_budget_nano": policy.default_budget_nano, **terms}),
            via=management_key_of(request),
        )


class KeyView(APIView):
    """One key."""

    @extend_schema(operation_id="keys_read", responses={200: KeyDetailSerializer, **REFUSALS}, tags=["keys"])
    def get(self, request: Request, key_id: str) -> Response:
        return Response(KeyDetailSerializer(key_for(user_of(request), key_id)).data)

    @extend_schema(
        operation_id="keys_change",
        request=TermsSerializer(partial=True),
        responses={200: KeySerializer, **REFUSALS, **CONFLICT},
        tags=["keys"],
    )
    def patch(self, request: Request, key_id: str) -> Response:
        """Change the name or the terms. What is not named stays as it is. Management keys: only when signed in."""
        user = user_of(request)
        key = key_for(user, key_id, to_change=True)
        if key.is_management:
            require_person(request)
        asked = TermsSerializer(key, data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        with explained():
            change_key(
                key=key,
                changes=asked.changes(),
                by=user,
                via=management_key_of(request),
            )
        return Response(KeySerializer(key).data)


class KeyActView(APIView):
    """Something done to a key that leaves it as the answer says."""

    def act(self, request: Request, key: ApiKey) -> None:
        raise NotImplementedError

    def post(self, request: Request, key_id: str) -> Response:
        key = key_for(user_of(request), key_id, to_change=True)
        with explained():
            self.act(request, key)
        return Response(KeySerializer(key_for(user_of(request), key_id)).data)


def _act(name: str) -> Callable[[type[KeyActView]], type[KeyActView]]:
    responses = {200: KeySerializer, **REFUSALS, **CONFLICT}
    said = extend_schema(operation_id=f"keys_{name}", request=None, responses=responses, tags=["keys"])
    return cast("Callable[[type[KeyActView]], type[KeyActView]]", extend_schema_view(post=said))


@_act("disable")
class KeyDisableView(KeyActView):
    """Have calls with the key refused until it is enabled again."""

    def act(self, request: Request, key: ApiKey) -> None:
        disable_key(key=key, by=user_of(request))


@_act("enable")
class KeyEnableView(KeyActView):
    """Let a disabled key work again. Management keys: only when signed in."""

    def act(self, request: Request, key: ApiKey) -> None:
        if key.is_management:
            require_person(request)
        enable_key(key=key, by=user_of(request), via=management_key_of(request))


@_act("revoke")
class KeyRevokeView(KeyActView):
    """End the key for good."""

    def act(self, request: Request, key: ApiKey) -> None:
        revoke_key(key=key, by=user_of(request))


class KeyRotateView(APIView):
    """A new secret of the key, told in this answer only; the old one works on for a while.

    Management keys: only when signed in.
    """

    @extend_schema(
        operation_id="keys_rotate",
        request=RotationSerializer,
        responses={200: MintedSerializer, **REFUSALS, **CONFLICT},
        tags=["keys"],
    )
    def post(self, request: Request, key_id: str) -> Response:
        user = user_of(request)
        key = key_for(user, key_id, to_change=True)
        if key.is_management:
            require_person(request)
        asked = RotationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        with explained():
            overlap = timedelta(minutes=asked.validated_data["overlap_minutes"])
            secret = rotate_key(key=key, overlap=overlap, by=user, via=management_key_of(request))
        return _minted(key, secret, status.HTTP_200_OK)


class SecretRetireView(APIView):
    """End an old secret of the key now. The newest ends only with the key."""

    @extend_schema(
        operation_id="keys_secret_retire",
        request=None,
        responses={200: SecretSerializer, **REFUSALS},
        tags=["keys"],
    )
    def post(self, request: Request, key_id: str, secret_id: str) -> Response:
        user = user_of(request)
        secret = secret_for(user, key_id, secret_id)
        if secret.is_newest:
            raise serializers.ValidationError(_("The newest secret ends only with its key: rotate or revoke the key."))
        retire_secret(secret=secret, by=user)
        secret.refresh_from_db()
        return Response(SecretSerializer(secret).data)


class KeyHealthView(generics.GenericAPIView[ApiKey]):
    """Keys of a project that have a finding, newest first: they work, or with `owner_left` have stopped."""

    pagination_class = KeysetPagination
    serializer_class = KeySerializer
    keyset_by = "created_at"

    @extend_schema(
        operation_id="keys_health",
        parameters=[
            PROJECT_PARAMETER,
            OpenApiParameter("finding", str, required=True, enum=Finding.values, description="What is wrong."),
        ],
        responses={200: KeySerializer(many=True), **REFUSALS},
        tags=["keys"],
    )
    def get(self, request: Request) -> Response:
        finding = request.query_params.get("finding")
        if finding not in Finding.values:
            raise serializers.ValidationError({"finding": _("Ask for one of them: %s.") % ", ".join(Finding.values)})
        user, project = user_of(request), project_of(request)
        keys = ApiKey.objects.for_keys_page(project, user, rights_in(user, project)).select_related(
            "project", "service_account"
        )
        page = self.paginate_queryset(with_finding(keys, Finding(finding)))
        return self.get_paginated_response(KeySerializer(page, many=True).data)


class KeyPolicyView(APIView):
    """What an organization demands of its keys."""

    @extend_schema(
        operation_id="keys_policy_read",
        parameters=[ORGANIZATION_PARAMETER],
        responses={200: PolicyStandingSerializer, **REFUSALS},
        tags=["keys"],
    )
    def get(self, request: Request) -> Response:
        return Response(PolicyStandingSerializer(KeyPolicy.objects.of(_organization(request, to=Right.SEE))).data)

    @extend_schema(
        operation_id="keys_policy_change",
        parameters=[ORGANIZATION_PARAMETER],
        request=PolicySerializer(partial=True),
        responses={200: PolicyStandingSerializer, **REFUSALS},
        tags=["keys"],
    )
    def patch(self, request: Request) -> Response:
        """Change it. What is not named stays as it is."""
        organization = _organization(request, to=Right.MANAGE_ORGANIZATION)
        require_unbound(request)
        asked = PolicySerializer(KeyPolicy.objects.of(organization), data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        changed = change_policy(organization=organization, by=user_of(request), **asked.validated_data)
        return Response(PolicyStandingSerializer(changed).data)


class KeyPolicyShortenView(APIView):
    """Keys that live longer than the policy allows."""

    @extend_schema(
        operation_id="keys_policy_shorten",
        parameters=[ORGANIZATION_PARAMETER],
        request=None,
        responses={200: PolicyStandingSerializer, **REFUSALS},
        tags=["keys"],
    )
    def post(self, request: Request) -> Response:
        """Have each end when the policy says, or in a week where that is later; no more than 200 keys a call.

        Their makers are told.
        """
        organization = _organization(request, to=Right.MANAGE_ORGANIZATION)
        shorten_keys(organization=organization, by=user_of(request))
        return Response(PolicyStandingSerializer(KeyPolicy.objects.of(organization)).data)


def _organization(request: Request, *, to: Right) -> Organization:
    name = request.query_params.get("organization")
    if name is None:
        name = project_of(request).organization.public_id
    return organization_for(user_of(request), name, to=to)


# In this order: a key's own address would take the words for its id.
places = [
    path("keys/", KeysView.as_view(), name="api-keys"),
    path("keys/health/", KeyHealthView.as_view(), name="api-keys-health"),
    path("keys/policy/", KeyPolicyView.as_view(), name="api-keys-policy"),
    path("keys/policy/shorten/", KeyPolicyShortenView.as_view(), name="api-keys-policy-shorten"),
]
inner_places = [
    path("keys/<str:key_id>/", KeyView.as_view(), name="api-key"),
    path("keys/<str:key_id>/disable/", KeyDisableView.as_view(), name="api-key-disable"),
    path("keys/<str:key_id>/enable/", KeyEnableView.as_view(), name="api-key-enable"),
    path("keys/<str:key_id>/revoke/", KeyRevokeView.as_view(), name="api-key-revoke"),
    path("keys/<str:key_id>/rotate/", KeyRotateView.as_view(), name="api-key-rotate"),
    path("keys/<str:key_id>/secrets/<str:secret_id>/retire/", SecretRetireView.as_view(), name="api-key-secret-retire"),
]
"""Those that take an id, and so cannot stand in the index of the API."""

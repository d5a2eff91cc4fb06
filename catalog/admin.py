from typing import cast

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.access import AuthedRequest
from accounts.models import User
from catalog import services
from catalog.models import (
    USES,
    Backend,
    BackendQuerySet,
    Deployment,
    DeploymentQuerySet,
    HostedModel,
    HostedModelQuerySet,
    ModelAlias,
    ModelPrice,
)
from catalog.signals import catalog_changed
from common.admin import ReadOnlyAdmin
from common.limits import ALERTS, LIMITS


class DeploymentInline(admin.TabularInline[Deployment, HostedModel]):
    """Where a model runs."""

    model = Deployment
    extra = 0
    can_delete = False
    fields = [
        "backend", "backend_name", "is_enabled", "priority", "weight", "most_in_flight", "context_window",
        "vanished_at",
    ]  # fmt: skip
    readonly_fields = ["backend", "backend_name", "context_window", "vanished_at"]

    def has_add_permission(self, request: HttpRequest, obj: HostedModel | None = None) -> bool:
        return False


@admin.register(Backend)
class BackendAdmin(admin.ModelAdmin[Backend]):
    """Backends are connected, moved and given credentials on their own page, which asks the server first."""

    list_display = ["name", "kind", "base_url", "is_enabled", "is_healthy", "fault", "latency_ms", "checked_at"]
    list_filter = ["kind", "is_enabled", "is_healthy", "is_embedded"]
    search_fields = ["name", "base_url", "deployments__backend_name"]
    ordering = ["name"]
    actions = ["enable", "disable", "check_now"]
    fields = [
        "name", "kind", "base_url", "own_page", "is_enabled", "is_embedded", "is_healthy", "fault", "fault_detail",
        "latency_ms", "checked_at", "created_at",
    ]  # fmt: skip
    readonly_fields = [
        "name", "kind", "base_url", "own_page", "is_embedded", "is_healthy", "fault", "fault_detail",
        "latency_ms", "checked_at", "created_at",
    ]  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: Backend) -> None:
        services.remove_backend(backend=obj, by=cast(User, request.user))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Backend]) -> None:
        for backend in queryset:
            services.remove_backend(backend=backend, by=cast(User, request.user))

    @admin.display(description=_("address and credential"))
    def own_page(self, backend: Backend) -> str:
        return format_html('<a href="{}">{}</a>', reverse("catalog:backend", args=[backend.name]), _("Change"))

    @admin.action(description=_("Send calls to the selected backends"), permissions=["change"])
    def enable(self, request: AuthedRequest, queryset: BackendQuerySet) -> None:
        self._set_enabled(request, queryset, is_enabled=True)

    @admin.action(description=_("Send no calls to the selected backends"), permissions=["change"])
    def disable(self, request: AuthedRequest, queryset: BackendQuerySet) -> None:
        self._set_enabled(request, queryset, is_enabled=False)

    @admin.action(description=_("Check the selected backends now"), permissions=["view"])
    def check_now(self, request: HttpRequest, queryset: BackendQuerySet) -> None:
        services.check_backends(only=queryset)
        self.message_user(request, _("Checked."), messages.SUCCESS)

    def _set_enabled(self, request: AuthedRequest, queryset: BackendQuerySet, *, is_enabled: bool) -> None:
        count = len(queryset)
        for backend in queryset:
            services.set_backend_enabled(backend=backend, is_enabled=is_enabled, by=request.user)
        self.message_user(
            request, ngettext("%d backend changed.", "%d backends changed.", count) % count, messages.SUCCESS
        )


class HostedModelForm(forms.ModelForm[HostedModel]):
    uses = forms.MultipleChoiceField(label=_("uses"), required=False, choices=USES, widget=forms.CheckboxSelectMultiple)


class ModelAliasInline(admin.TabularInline[ModelAlias, HostedModel]):
    """What else a model is called."""

    model = ModelAlias
    extra = 0


@admin.register(HostedModel)
class HostedModelAdmin(admin.ModelAdmin[HostedModel]):
    form = HostedModelForm
    list_display = [
        "public_name",
        "uses_in_words",
        "context_window",
        "input_price",
        "output_price",
        "is_visible",
        "created_at",
    ]
    list_filter = ["is_visible", "is_demonstration", "deployments__backend"]
    search_fields = ["public_name", "description", "deployments__backend_name"]
    ordering = ["public_name"]
    # A price is changed on the model's page in the portal, which keeps the one before.
    readonly_fields = ["public_name", "input_price_nano", "output_price_nano", "is_demonstration", "created_at"]
    actions = ["show", "hide"]
    inlines = [ModelAliasInline, DeploymentInline]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: HostedModel, form: object, change: bool) -> None:
        changes = {name: getattr(obj, name) for name in (*LIMITS, ALERTS)}
        services.change_model_limits(hosted_model=obj, changes=changes, by=cast(AuthedRequest, request).user)
        super().save_model(request, obj, form, change)

    @admin.display(description=_("uses"))
    def uses_in_words(self, model: HostedModel) -> str:
        return model.uses_in_words

    @admin.action(description=_("Show the selected models to developers"), permissions=["change"])
    def show(self, request: HttpRequest, queryset: HostedModelQuerySet) -> None:
        self._set_visible(request, queryset, is_visible=True)

    @admin.action(description=_("Hide the selected models from developers"), permissions=["change"])
    def hide(self, request: HttpRequest, queryset: HostedModelQuerySet) -> None:
        self._set_visible(request, queryset, is_visible=False)

    def _set_visible(self, request: HttpRequest, queryset: HostedModelQuerySet, *, is_visible: bool) -> None:
        count = queryset.update(is_visible=is_visible)
        catalog_changed()
        self.message_user(request, ngettext("%d model changed.", "%d models changed.", count) % count, messages.SUCCESS)


@admin.register(Deployment)
class DeploymentAdmin(admin.ModelAdmin[Deployment]):
    list_display = [
        "hosted_model", "backend", "backend_name", "priority", "weight", "most_in_flight", "context_window",
        "is_enabled", "vanished_at",
    ]  # fmt: skip
    list_filter = ["is_enabled", "backend", ("vanished_at", admin.EmptyFieldListFilter)]
    search_fields = ["backend_name", "hosted_model__public_name", "backend__name"]
    readonly_fields = ["hosted_model", "backend", "backend_name", "context_window", "vanished_at"]
    actions = ["enable", "disable"]

    def get_queryset(self, request: HttpRequest) -> DeploymentQuerySet:
        deployments: DeploymentQuerySet = Deployment.objects.with_both_ends()
        return deployments.order_by("hosted_model__public_name", "pk")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description=_("Send calls to the selected deployments"), permissions=["change"])
    def enable(self, request: AuthedRequest, queryset: DeploymentQuerySet) -> None:
        self._set_enabled(request, queryset, is_enabled=True)

    @admin.action(description=_("Send no calls to the selected deployments"), permissions=["change"])
    def disable(self, request: AuthedRequest, queryset: DeploymentQuerySet) -> None:
        self._set_enabled(request, queryset, is_enabled=False)

    def _set_enabled(self, request: AuthedRequest, queryset: DeploymentQuerySet, *, is_enabled: bool) -> None:
        count = len(queryset)
        for deployment in queryset:
            services.set_deployment_enabled(deployment=deployment, is_enabled=is_enabled, by=request.user)
        self.message_user(
            request, ngettext("%d deployment changed.", "%d deployments changed.", count) % count, messages.SUCCESS
        )


@admin.register(ModelPrice)
class ModelPriceAdmin(ReadOnlyAdmin):
    """What models have cost."""

    list_display = ["model", "since", "input_price", "output_price", "set_by"]
    list_filter = ["since"]
    list_select_related = ["set_by"]
    search_fields = ["model"]
    ordering = ["-since", "-pk"]

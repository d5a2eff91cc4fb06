from typing import Any, cast

from allauth.mfa import admin as _registers_its_own  # noqa: F401 - imported first, so that ours can take its place
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.access import AuthedRequest
from accounts.audit import record
from accounts.limits.services import change_organization_limits, change_project_limits
from accounts.models import (
    AccountErasure,
    AccountExport,
    AuditEvent,
    AuditOrigin,
    AuditPerson,
    AuditSeal,
    Cohort,
    Invitation,
    JoinLink,
    KeptMail,
    Membership,
    Organization,
    Plan,
    PlanChange,
    Project,
    ProjectMembership,
    Removal,
    SecondFactor,
    ServiceAccount,
    TermsAcceptance,
    TermsVersion,
    User,
)
from accounts.plans.services import begin_on_default_plan
from accounts.projects.services import change_project
from accounts.services import readmit_user, suspend_user
from accounts.signals import rights_changed
from common.admin import ReadOnlyAdmin
from common.limits import ALERTS, LIMITS


class PlacesInline(admin.TabularInline[Any, Any]):
    """Who has which place. They are given and taken on the organization's own pages, which tell what rests on them."""

    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class MembershipInline(PlacesInline):
    model = Membership
    fields = ["organization", "user", "role", "created_at"]
    readonly_fields = ["created_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user", "organization")


class ProjectMembershipInline(PlacesInline):
    model = ProjectMembership
    fields = ["membership", "role", "created_at"]
    readonly_fields = ["created_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("membership__user", "membership__organization")


POWERS = ["is_staff", "is_superuser", "groups", "user_permissions"]


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


@admin.register(User)
class UserAdmin(DjangoUserAdmin[User]):
    list_display = ["email", "name", "public_id", "is_staff", "is_active", "suspended_at", "date_joined", "is_sample"]
    list_filter = ["is_staff", "is_active", "is_sample", ("suspended_at", admin.EmptyFieldListFilter)]
    search_fields = ["email", "name", "public_id"]
    ordering = ["-date_joined"]
    readonly_fields = ["public_id", "suspended_at", "last_login", "date_joined"]
    fieldsets = [
        (None, {"fields": ["email", "password", "public_id"]}),
        (_("Person"), {"fields": ["name", "language"]}),
        (_("Permissions"), {"fields": ["is_active", "is_staff", "is_superuser", "groups", "user_permissions"]}),
        (_("Record"), {"fields": ["suspended_at", "last_login", "date_joined"]}),
    ]
    add_fieldsets = [(None, {"classes": ["wide"], "fields": ["email", "password1", "password2"]})]
    inlines = [MembershipInline]
    actions = ["suspend", "readmit"]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        # Whoever may change people must not be able to make themselves more than they are.
        own = super().get_readonly_fields(request, obj)
        return own if _is_superuser(request) else [*own, *POWERS]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        is_above = obj is not None and obj.is_superuser and not _is_superuser(request)
        return not is_above and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "is_active" in form.changed_data:
            rights_changed.send(sender=User, user=obj, organization=None)

    @admin.action(description=_("Suspend"))
    def suspend(self, request: AuthedRequest, queryset: QuerySet[User]) -> None:
        for user in queryset.exclude(email=request.user.get_username()):
            suspend_user(user=user, by=request.user)

    @admin.action(description=_("Readmit"))
    def readmit(self, request: AuthedRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            readmit_user(user=user, by=request.user)


@admin.register(Organization)
class OrganizationAdmin(admin.ModelAdmin[Organization]):
    list_display = ["name", "public_id", "plan", "is_personal", "created_at", "is_sample"]
    list_filter = ["plan", "is_personal", "is_sample"]
    list_select_related = ["plan"]
    search_fields = ["name", "public_id", "memberships__user__email"]
    # Given and taken on the page of the plan, which tells whoever makes calls.
    readonly_fields = ["public_id", "plan", "created_at"]
    inlines = [MembershipInline]

    def save_model(self, request: HttpRequest, obj: Organization, form: object, change: bool) -> None:
        if change:
            changes = {name: getattr(obj, name) for name in (*LIMITS, ALERTS, "time_zone")}
            change_organization_limits(organization=obj, changes=changes, by=cast(AuthedRequest, request).user)
        super().save_model(request, obj, form, change)
        if not change:
            begin_on_default_plan(obj)


@admin.register(Plan)
class PlanAdmin(ReadOnlyAdmin):
    """They are made and changed on pages of their own."""

    list_display = ["name", "public_id", "is_open", "is_default", "is_archived", "created_at"]
    list_filter = ["is_open", "is_archived"]
    search_fields = ["name", "public_id"]


@admin.register(PlanChange)
class PlanChangeAdmin(ReadOnlyAdmin):
    list_display = ["at", "plan", "organization", "by"]
    list_filter = ["at"]
    list_select_related = ["plan", "organization", "by"]
    search_fields = ["plan__name", "organization__name", "organization__public_id"]


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin[Project]):
    list_display = ["name", "public_id", "organization", "is_open", "ends_at", "archived_at", "created_at"]
    list_filter = ["is_open", ("archived_at", admin.EmptyFieldListFilter)]
    list_select_related = ["organization"]
    search_fields = ["name", "public_id", "organization__name", "organization__public_id"]
    readonly_fields = ["public_id", "organization", "archived_at", "created_at"]
    inlines = [ProjectMembershipInline]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Project, form: object, change: bool) -> None:
        by = cast(AuthedRequest, request).user
        change_project_limits(project=obj, changes={name: getattr(obj, name) for name in (*LIMITS, ALERTS)}, by=by)
        change_project(project=obj, name=obj.name, is_open=obj.is_open, ends_at=obj.ends_at, by=by)


@admin.register(ServiceAccount)
class ServiceAccountAdmin(admin.ModelAdmin[ServiceAccount]):
    list_display = ["name", "public_id", "project", "created_by", "created_at", "removed_at"]
    list_select_related = ["project", "created_by"]
    search_fields = ["name", "public_id", "project__name", "project__public_id"]
    readonly_fields = ["public_id", "project", "created_by", "created_at", "removed_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Removal)
class RemovalAdmin(ReadOnlyAdmin):
    list_display = ["user", "organization", "created_at"]
    list_select_related = ["user", "organization"]
    search_fields = ["user__email", "organization__name", "organization__public_id"]


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    list_display = [
        "email", "organization", "role", "invited_by", "created_at", "mailed_at", "expires_at", "accepted_at",
        "revoked_at",
    ]  # fmt: skip
    list_select_related = ["organization", "invited_by"]
    search_fields = ["email", "public_id", "organization__name", "organization__public_id"]
    fields = [
        "public_id", "email", "organization", "role", "projects", "project_role", "language", "invited_by",
        "created_at", "mail_due_at", "mail_attempts", "mailed_at", "expires_at", "accepted_at", "accepted_by",
        "revoked_at",
    ]  # fmt: skip


@admin.register(JoinLink)
class JoinLinkAdmin(ReadOnlyAdmin):
    """What is known of a link but what it is: its token lets people in."""

    list_display = [
        "name",
        "public_id",
        "organization",
        "role",
        "join_count",
        "most_joins",
        "ends_at",
        "switched_off_at",
    ]
    list_select_related = ["organization"]
    search_fields = ["name", "public_id", "organization__name", "organization__public_id"]
    fields = [
        "public_id", "name", "organization", "role", "project", "project_role", "join_count", "most_joins", "ends_at",
        "switched_off_at", "created_by", "created_at",
    ]  # fmt: skip


@admin.register(Cohort)
class CohortAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "public_id", "project", "created_by", "created_at"]
    list_select_related = ["project", "created_by"]
    search_fields = ["public_id", "project__name", "project__public_id"]


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "action", "actor", "organization_id", "target_kind", "target_label", "request_id"]
    search_fields = ["action", "actor", "organization_id", "target_id", "request_id"]


@admin.register(AuditPerson)
class AuditPersonAdmin(ReadOnlyAdmin):
    list_display = ["token", "user"]
    list_select_related = ["user"]
    search_fields = ["token", "user__email"]


@admin.register(AuditOrigin)
class AuditOriginAdmin(ReadOnlyAdmin):
    list_display = ["event_id", "person", "address", "user_agent"]
    search_fields = ["person", "address"]


@admin.register(AuditSeal)
class AuditSealAdmin(ReadOnlyAdmin):
    list_display = ["month", "number", "event_id", "hash"]
    search_fields = ["event_id", "hash"]


@admin.register(TermsVersion)
class TermsVersionAdmin(ReadOnlyAdmin):
    list_display = ["number", "in_force_at", "published_at", "published_by"]
    list_select_related = ["published_by"]
    search_fields = ["english", "chinese"]


@admin.register(TermsAcceptance)
class TermsAcceptanceAdmin(ReadOnlyAdmin):
    list_display = ["user", "version", "accepted_at"]
    list_select_related = ["user", "version"]
    search_fields = ["user__email"]


@admin.register(AccountExport)
class AccountExportAdmin(ReadOnlyAdmin):
    list_display = ["public_id", "user", "state", "created_at", "finished_at", "expires_at"]
    list_select_related = ["user"]
    search_fields = ["public_id", "user__email"]
    # The file is its owner's.
    exclude = ["file"]


@admin.register(AccountErasure)
class AccountErasureAdmin(ReadOnlyAdmin):
    list_display = ["public_id", "state", "done", "total", "created_at", "finished_at"]
    search_fields = ["public_id"]


@admin.register(KeptMail)
class KeptMailAdmin(admin.ModelAdmin[KeptMail]):
    list_display = ["created_at", "recipient", "subject"]
    search_fields = ["recipient", "subject"]
    readonly_fields = ["created_at", "recipient", "subject", "body"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


admin.site.unregister(Authenticator)


@admin.register(SecondFactor)
class SecondFactorAdmin(ReadOnlyAdmin):
    """For helping somebody who lost theirs: it can be taken away. The secret in it is on no page."""

    list_display = ["user", "type", "created_at", "last_used_at"]
    list_filter = ["type", "created_at", "last_used_at"]
    list_select_related = ["user"]
    search_fields = ["user__email"]
    fields = ["user", "type", "created_at", "last_used_at"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def delete_model(self, request: HttpRequest, obj: SecondFactor) -> None:
        self.delete_queryset(request, SecondFactor.objects.filter(pk=obj.pk))

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[SecondFactor]) -> None:
        by = cast(AuthedRequest, request).user
        for factor in queryset.select_related("user"):
            record("second_factor.removed", by=by, target=factor.user, before={"type": factor.type})
        queryset.delete()

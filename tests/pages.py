"""Every address of the portal, once: who may open it and what it is. A URL that is missing here fails a test.

Screenshots, accessibility, translations and permissions are all taken over this table.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from django.utils import timezone

from accounts.audit import record
from accounts.cohorts.services import create_cohort
from accounts.invitations.links import create_join_link, join
from accounts.invitations.services import invite
from accounts.models import Invitation, Membership, User
from accounts.plans.services import choose_plan, make_plan
from accounts.projects.services import create_service_account, set_place
from accounts.roles import ProjectRole, Role
from accounts.services import invite_operator, publish_terms
from apikeys.services import mint_key, mint_management_key, rotate_key
from catalog.models import Backend, Deployment, HostedModel
from common.money import NANO
from common.tokens import new_token, token_hash
from community import moderation
from community.models import FlagReason
from community.services import raise_flag
from forum import services as forum
from playground.models import Run, RunStatus
from tests.usage.ledger import add_call, add_usage
from usage.credits.services import grant_credits, revoke_grant
from usage.models import CreditDraw
from webhooks import services as webhooks


class Who(Enum):
    """The least that a visitor must be."""

    ANYONE = "anyone"
    MEMBER = "member"
    STAFF = "staff"


@dataclass(frozen=True)
class Page:
    """A page people look at. `path` may hold names of the world below in braces."""

    name: str
    path: str
    who: Who = Who.ANYONE


PAGES = [
    Page("home", "/"),
    Page("quickstart", "/quickstart/", Who.MEMBER),
    Page("account_login", "/accounts/login/"),
    Page("account_signup", "/accounts/signup/"),
    Page("account_logout", "/accounts/logout/", Who.MEMBER),
    Page("account_inactive", "/accounts/inactive/"),
    Page("account_email", "/accounts/email/", Who.MEMBER),
    Page("account_change_password", "/accounts/password/change/", Who.MEMBER),
    Page("account_reset_password", "/accounts/password/reset/"),
    Page("account_reset_password_done", "/accounts/password/reset/done/"),
    Page("account_reset_password_from_key_done", "/accounts/password/reset/key/done/"),
    Page("mfa_index", "/accounts/2fa/", Who.MEMBER),
    Page("mfa_list_webauthn", "/accounts/2fa/webauthn/", Who.MEMBER),
    Page("usersessions_list", "/accounts/sessions/", Who.MEMBER),
    Page("socialaccount_login_cancelled", "/accounts/3rdparty/login/cancelled/"),
    Page("socialaccount_connections", "/accounts/3rdparty/", Who.MEMBER),
    Page("accounts:addresses", "/accounts/email/", Who.MEMBER),
    Page("accounts:sessions", "/accounts/sessions/", Who.MEMBER),
    Page("accounts:settings", "/settings/", Who.MEMBER),
    Page("accounts:setup", "/setup/{setup_token}/"),
    Page("accounts:data", "/settings/data/", Who.MEMBER),
    Page("accounts:second_factor", "/second-factor/", Who.MEMBER),
    Page("accounts:second_factor_policy", "/organizations/{organization}/second-factor/", Who.MEMBER),
    Page("accounts:terms", "/terms/"),
    Page("accounts:publish_terms", "/terms/publish/", Who.STAFF),
    Page("accounts:mail", "/mail/", Who.MEMBER),
    Page("accounts:organizations", "/organizations/", Who.MEMBER),
    Page("accounts:new_organization", "/organizations/new/", Who.MEMBER),
    Page("accounts:organization", "/organizations/{organization}/settings/", Who.MEMBER),
    Page("accounts:organization_limits", "/organizations/{organization}/limits/", Who.MEMBER),
    Page("plans:organization", "/organizations/{organization}/plan/", Who.MEMBER),
    Page("plans:choose", "/organizations/{organization}/plan/{plan}/", Who.MEMBER),
    Page("accounts:member_limits", "/organizations/{organization}/members/{member}/limits/", Who.MEMBER),
    Page("accounts:project_limits", "/projects/{project}/limits/", Who.MEMBER),
    Page("accounts:members", "/organizations/{organization}/members/", Who.MEMBER),
    Page("accounts:member", "/organizations/{organization}/members/{member}/", Who.MEMBER),
    Page("accounts:projects", "/organizations/{organization}/projects/", Who.MEMBER),
    Page("accounts:new_project", "/organizations/{organization}/projects/new/", Who.MEMBER),
    Page("accounts:cohorts", "/organizations/{organization}/cohorts/", Who.MEMBER),
    Page("accounts:new_cohort", "/organizations/{organization}/cohorts/new/", Who.MEMBER),
    Page("accounts:cohort", "/cohorts/{cohort}/", Who.MEMBER),
    Page("accounts:cohort_settings", "/cohorts/{cohort}/settings/", Who.MEMBER),
    Page("accounts:invitations", "/organizations/{organization}/invitations/", Who.MEMBER),
    Page("accounts:join_links", "/organizations/{organization}/join-links/", Who.MEMBER),
    Page("accounts:accept_invitation", "/invitation/{invitation_token}/"),
    Page("accounts:join", "/join/{join_token}/"),
    Page("accounts:project", "/projects/{project}/", Who.MEMBER),
    Page("accounts:project_members", "/projects/{project}/members/", Who.MEMBER),
    Page("accounts:add_project_member", "/projects/{project}/members/add/", Who.MEMBER),
    Page("accounts:service_accounts", "/projects/{project}/service-accounts/", Who.MEMBER),
    Page("accounts:service_account", "/service-accounts/{service_account}/", Who.MEMBER),
    Page("apikeys:list", "/keys/", Who.MEMBER),
    Page("apikeys:new", "/keys/new/", Who.MEMBER),
    Page("apikeys:health", "/keys/health/", Who.MEMBER),
    Page("apikeys:policy", "/keys/policy/", Who.MEMBER),
    Page("apikeys:management", "/keys/management/", Who.MEMBER),
    Page("apikeys:new_management", "/keys/management/new/", Who.MEMBER),
    Page("apikeys:detail", "/keys/{key}/", Who.MEMBER),
    Page("apikeys:edit", "/keys/{key}/edit/", Who.MEMBER),
    Page("leaks:found", "/keys/found/"),
    Page("leaks:scanning", "/keys/scanning/"),
    Page("audit:organization", "/organizations/{organization}/audit/", Who.MEMBER),
    Page("audit:everything", "/audit/", Who.STAFF),
    Page("catalog:models", "/models/"),
    Page("catalog:model", "/models/{model}/"),
    Page("catalog:backends", "/backends/", Who.STAFF),
    Page("catalog:connect", "/backends/connect/", Who.STAFF),
    Page("catalog:model_limits", "/backends/limits/{model}/", Who.STAFF),
    Page("catalog:edit_model", "/backends/models/{model}/", Who.STAFF),
    Page("catalog:backend", "/backends/{backend}/", Who.STAFF),
    Page("catalog:deployment", "/backends/{backend}/deployments/{model}/", Who.STAFF),
    Page("plans:list", "/plans/", Who.STAFF),
    Page("plans:new", "/plans/new/", Who.STAFF),
    Page("plans:plan", "/plans/{plan}/", Who.STAFF),
    Page("plans:assign", "/plans/{plan}/assign/?organization={organization}", Who.STAFF),
    Page("usage:overview", "/usage/?group=status&compare=before", Who.MEMBER),
    Page("usage:calls", "/usage/calls/?code=rate_limit_exceeded", Who.MEMBER),
    Page("usage:call", "/usage/calls/{call}/", Who.MEMBER),
    Page("operations:overview", "/operations/?span=30d", Who.STAFF),
    Page("operations:organization", "/operations/organizations/{organization}/", Who.STAFF),
    Page("statements:list", "/organizations/{organization}/statements/", Who.MEMBER),
    Page("statements:month", "/organizations/{organization}/statements/{month}/", Who.MEMBER),
    Page("credits:overview", "/organizations/{organization}/credits/", Who.MEMBER),
    Page("playground:index", "/playground/", Who.MEMBER),
    Page("playground:history", "/playground/runs/", Who.MEMBER),
    Page("playground:run", "/playground/runs/{run}/", Who.MEMBER),
    Page("docs_site:index", "/docs/"),
    Page("docs_site:page", "/docs/quickstart/"),
    Page("docs_site:reference", "/docs/api/"),
    Page("docs_site:reference_section", "/docs/api/webhooks/"),
    Page("forum:index", "/forum/"),
    Page("forum:ask", "/forum/ask/", Who.MEMBER),
    Page("forum:tags", "/forum/tags/"),
    Page("forum:question", "/forum/questions/{question}/{slug}/"),
    Page("forum:edit", "/forum/posts/{post}/edit/", Who.MEMBER),
    Page("forum:history", "/forum/posts/{post}/history/"),
    Page("forum:comment", "/forum/posts/{post}/comment/", Who.MEMBER),
    Page("community:flag", "/community/posts/{others_post}/flag/", Who.MEMBER),
    Page("community:moderation", "/moderation/", Who.STAFF),
    Page("community:log", "/moderation/log/", Who.STAFF),
    Page("community:case", "/moderation/posts/{others_post}/", Who.STAFF),
    Page("notifications:list", "/notifications/", Who.MEMBER),
    Page("webhooks:list", "/organizations/{organization}/webhooks/", Who.MEMBER),
    Page("webhooks:new", "/organizations/{organization}/webhooks/new/", Who.MEMBER),
    Page("webhooks:endpoint", "/organizations/{organization}/webhooks/{endpoint}/", Who.MEMBER),
    Page("webhooks:edit", "/organizations/{organization}/webhooks/{endpoint}/edit/", Who.MEMBER),
    Page("webhooks:delivery", "/organizations/{organization}/webhooks/{endpoint}/deliveries/{delivery}/", Who.MEMBER),
    Page("search:results", "/search/?q=stream"),
]

ACTIONS = {
    "accounts:accept_terms", "accounts:archive_project", "accounts:change_role", "accounts:choose_project",
    "accounts:close_cohort", "accounts:end_session", "accounts:leave", "accounts:remove_member",
    "accounts:remove_place", "accounts:remove_service_account", "accounts:resend_invitation",
    "accounts:restore_project", "accounts:revoke_invitation", "accounts:set_place", "accounts:start_export",
    "accounts:switch_cohort_link", "accounts:switch_join_link", "accounts:transfer", "apikeys:disable",
    "apikeys:enable", "apikeys:fix", "apikeys:retire", "apikeys:revoke", "apikeys:rotate", "apikeys:shorten",
    "catalog:check_now", "catalog:rediscover", "catalog:remove", "catalog:set_deployment_enabled",
    "catalog:set_enabled", "community:undo", "community:vote", "forum:accept", "forum:delete", "forum:preview",
    "notifications:follow", "notifications:mail", "notifications:read_all", "notifications:unsubscribe",
    "plans:take_off", "playground:delete", "playground:stop", "set_language", "set_theme",
    "webhooks:remove", "webhooks:resend",
    "webhooks:rotate", "webhooks:set_enabled", "webhooks:test",
}  # fmt: skip
"""Addresses that change something, or hand on, and are no page of their own."""

PARTS = {
    "accounts:download_export", "accounts:export_progress", "accounts:roster", "api-audit-events",
    "api-audit-events-file", "api-cohort", "api-cohort-allowances", "api-cohorts", "api-invitation",
    "api-invitation-resend", "api-invitations", "api-join-link", "api-join-links", "api-key", "api-key-disable",
    "api-key-enable", "api-key-revoke", "api-key-rotate", "api-key-secret-retire", "api-keys", "api-keys-health",
    "api-keys-policy", "api-keys-policy-shorten", "api-leaks", "api-member", "api-member-limits", "api-members",
    "api-models", "api-organization", "api-organization-credits", "api-organization-limits", "api-organization-plan",
    "api-organizations", "api-project", "api-project-limits", "api-project-member", "api-project-members",
    "api-projects", "api-root", "api-roster", "api-run", "api-run-stop", "api-runs", "api-schema",
    "api-service-account", "api-service-accounts", "api-transfer", "api-usage-allowance", "api-usage-call",
    "api-usage-calls", "api-usage-limits", "api-usage-summary", "api-webhook", "api-webhook-deliveries",
    "api-webhook-enabled", "api-webhook-resend", "api-webhook-secret", "api-webhook-test", "api-webhooks",
    "audit:everything_file", "audit:organization_file", "docs_site:twin", "forum:feed", "forum:question_by_id",
    "leaks:github", "leaks:rules", "llms", "operations:file", "operations:now", "playground:code",
    "playground:result", "playground:ticket", "statements:file", "usage:calls_file", "usage:export",
    "usage:failures_file", "usage:live", "usage:times_file", "usage:totals_file", "usage:week_file",
}  # fmt: skip
"""Addresses that answer with data, with a fragment of a page, or with a redirection."""

STEPS = {
    "accounts:erase", "accounts:erased",
    "account_confirm_email", "account_confirm_login_code", "account_email_verification_sent",
    "account_reauthenticate", "account_reset_password_from_key", "account_set_password", "github_callback",
    "github_login", "google_callback", "google_login", "google_login_by_token", "mfa_activate_totp",
    "mfa_add_webauthn", "mfa_authenticate", "mfa_deactivate_totp", "mfa_download_recovery_codes",
    "mfa_edit_webauthn", "mfa_generate_recovery_codes", "mfa_login_webauthn", "mfa_reauthenticate",
    "mfa_reauthenticate_webauthn", "mfa_remove_webauthn", "mfa_view_recovery_codes", "openid_connect_callback",
    "openid_connect_login", "socialaccount_login_error", "socialaccount_signup",
}  # fmt: skip
"""Steps inside a sign-in that only make sense after the one before."""


def build_world(*, ada: User, cyd: User, sam: User) -> dict[str, str]:
    """Something on every page, seen by Ada, and the names that paths above hold in braces."""
    project = ada.organizations.get(is_personal=True).projects.get()
    model = HostedModel.objects.create(public_name="qwen3-8b", description="A chat model.", context_window=32_768)
    backend = Backend.objects.create(name="gpu-1", base_url="http://127.0.0.1:9/v1")
    Deployment.objects.create(hosted_model=model, backend=backend, backend_name="qwen3-8b")
    question = forum.ask(author=ada, title="Why does my stream stall?", source="It stops for seconds.", tags=["stream"])
    answer = forum.answer(question=question, author=cyd, source="A proxy in between buffers what it gets.")
    raise_flag(post=answer.post, flagger=ada, reason=FlagReason.OTHER)
    moderation.lock_post(post=forum.answer(question=question, author=sam, source="The manual says how.").post, by=sam)
    key, _secret = mint_key(project=project, name="laptop", by=ada)
    rotate_key(key=key, overlap=timedelta(days=1), by=ada)
    mint_management_key(owner=ada, name="terraform")
    used: Any = {"prompt_tokens": 1200, "completion_tokens": 80, "cost_nano": 900, "credit_nano": 400}
    add_usage(project, timezone.now(), model=model.public_name, **used)
    call = add_call(project, timezone.now(), model=model.public_name, status=429, error_code="rate_limit_exceeded")
    record("project.renamed", by=ada, target=project, organization=project.organization, label=project.name)
    run = Run.objects.create(
        user=ada,
        project=project,
        model_name=model.public_name,
        title="Say hello.",
        messages=[{"role": "user", "content": "Say hello."}],
        status=RunStatus.SUCCEEDED,
        output="Hello.",
    )
    organization = project.organization
    welcome = grant_credits(
        organization=organization,
        amount_nano=100 * NANO,
        reason="Welcome",
        expires_at=timezone.now() + timedelta(days=30),
        by=sam,
    )
    CreditDraw.objects.create(
        grant_id=welcome.public_id, organization_id=organization.public_id, day=timezone.now().date(), nano=400
    )
    mistaken = grant_credits(
        organization=organization, amount_nano=NANO, reason="For the course", expires_at=None, by=sam
    )
    revoke_grant(grant=mistaken, reason="Meant for another organization.", by=sam)
    endpoint, _secret = webhooks.create_endpoint(
        organization=organization, url="https://example.com/hook", description="", event_types=[], by=ada
    )
    webhooks.send_test(endpoint=endpoint)
    grace = User.objects.create_user("grace@example.com", name="Grace")
    Membership.objects.create(organization=project.organization, user=grace)
    places = Membership.objects.filter(organization=project.organization)
    set_place(project=project, membership=places.get(user=ada), role=ProjectRole.ADMIN, by=ada)
    account = create_service_account(project=project, name="nightly", description="The evaluation.", by=ada)
    cohort = create_cohort(
        organization=project.organization,
        name="Compilers 101",
        ends_at=timezone.now() + timedelta(days=90),
        most_joins=30,
        limits={"requests_per_minute": 20, "monthly_budget_nano": 5_000_000_000},
        by=ada,
    )
    join(link=cohort.join_link, user=grace)
    invitation = invite(organization=project.organization, email="eve@example.com", role=Role.MEMBER, by=ada)
    invitation_token = new_token()
    Invitation.objects.filter(pk=invitation.pk).update(token_hash=token_hash(invitation_token))
    link = create_join_link(
        organization=project.organization,
        name="The team",
        role=Role.MEMBER,
        most_joins=20,
        ends_at=timezone.now() + timedelta(days=30),
        by=ada,
    )
    publish_terms(
        english="Be kind to each other, and to the machines.",
        chinese="善待彼此，也善待机器。",
        in_force_at=timezone.now() + timedelta(days=7),
        by=sam,
    )
    starter = make_plan(
        changes={
            "name": "Starter",
            "description": "To try the portal.",
            "is_open": True,
            "requests_per_minute": 60,
            "monthly_budget_nano": 20_000_000_000,
            "allowed_models": [model.public_name],
            "prices": {model.public_name: [50_000_000, 200_000_000]},
        },
        by=sam,
    )
    team = make_plan(changes={"name": "Team", "is_open": True, "position": 1, "requests_per_day": 1}, by=sam)
    choose_plan(organization=organization, plan=starter, by=ada)
    return {
        "organization": organization.public_id,
        "plan": team.public_id,
        "plan_mark": team.mark,
        "own_plan": starter.public_id,
        "endpoint": endpoint.public_id,
        "delivery": endpoint.deliveries.get().public_id,
        "invitation": invitation.public_id,
        "link": link.public_id,
        "secret": key.secrets.exclude(valid_until=None).get().public_id,
        "invitation_token": invitation_token,
        "cohort": cohort.public_id,
        "join_token": cohort.join_link.token,
        "project": project.public_id,
        "member": grace.public_id,
        "service_account": account.public_id,
        "setup_token": invite_operator(),
        "key": key.public_id,
        "call": call.request_id,
        "month": f"{timezone.now():%Y-%m}",
        "model": model.public_name,
        "backend": backend.name,
        "question": question.public_id,
        "slug": question.slug,
        "post": question.post.public_id,
        "others_post": answer.post.public_id,
        "run": run.public_id,
    }

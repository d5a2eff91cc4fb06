"""What accounts and the packages beneath it hold about a person."""

import re
from collections.abc import Iterator
from importlib import import_module

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db.models import Count, F, Func, Model, Q, QuerySet, Value
from django.utils import timezone

from accounts.audit import forget_person
from accounts.holdings import Document, Holding, as_json, as_table
from accounts.models import (
    AccountExport,
    AuditEvent,
    AuditOrigin,
    Cohort,
    Invitation,
    JoinLink,
    KeptMail,
    Membership,
    Organization,
    PlanChange,
    Removal,
    ServiceAccount,
    TermsAcceptance,
    TermsVersion,
    User,
    user_id,
)


def export(user: User) -> Iterator[Document]:
    yield as_table(
        "account/profile.json",
        User.objects.filter(pk=user.pk),
        *("public_id", "email", "name", "language", "date_joined", "last_login", "is_staff", "suspended_at"),
        "last_project__public_id",
    )
    yield as_table("account/addresses.json", EmailAddress.objects.filter(user=user), "email", "verified", "primary")
    yield as_table(
        "account/connected_accounts.json",
        SocialAccount.objects.filter(user=user),
        *("provider", "uid", "extra_data", "date_joined", "last_login"),
    )
    yield as_table(
        "account/second_factors.json", Authenticator.objects.filter(user=user), "type", "created_at", "last_used_at"
    )
    yield as_table(
        "account/sessions.json",
        UserSession.objects.filter(user=user),
        *("created_at", "last_seen_at", "ip", "user_agent"),
    )
    yield as_table(
        "account/organizations.json",
        Membership.objects.filter(user=user),
        *("organization__public_id", "organization__name", "role", "created_at"),
    )
    yield as_table(
        "account/service_accounts.json",
        ServiceAccount.objects.filter(created_by=user),
        *("public_id", "name", "description", "project__public_id", "created_at", "removed_at"),
    )
    yield as_table(
        "account/removals.json",
        Removal.objects.filter(user=user),
        *("organization__public_id", "organization__name", "created_at"),
    )
    offer = ("public_id", "organization__public_id", "organization__name", "role", "created_at", "expires_at")
    ends = ("accepted_at", "revoked_at")
    yield as_table("account/invitations_received.json", _received(user), "email", *offer, *ends)
    # Without the addresses they went to: those are other people's.
    yield as_table("account/invitations_sent.json", Invitation.objects.filter(invited_by=user), *offer, *ends)
    yield as_table(
        "account/join_links.json",
        JoinLink.objects.filter(created_by=user),
        *("public_id", "organization__public_id", "name", "role", "most_joins", "ends_at", "created_at"),
    )
    yield as_table(
        "account/joined_by_link.json",
        JoinLink.objects.filter(came=user),
        *("public_id", "organization__public_id", "name"),
    )
    yield as_table(
        "account/cohorts.json",
        Cohort.objects.filter(created_by=user),
        *("public_id", "project__public_id", "project__name", "created_at"),
    )
    yield as_table("account/terms.json", TermsAcceptance.objects.filter(user=user), "version__number", "accepted_at")
    yield as_table("account/exports.json", AccountExport.objects.filter(user=user), "public_id", "created_at")
    yield as_table(
        "account/mail.json", KeptMail.objects.filter(user=user), "recipient", "created_at", "subject", "body"
    )
    yield as_table(
        "account/plans.json",
        PlanChange.objects.filter(by=user).order_by("at"),
        *("at", "plan__public_id", "organization__public_id", "before", "after"),
    )
    yield as_json("account/audit_log.json", _acts(user))
    yield as_table(
        "account/admin_log.json",
        LogEntry.objects.filter(user=user),
        *("action_time", "object_repr", "action_flag", "change_message"),
    )


def cut_off(user: User) -> None:
    """Nobody is signed in as them any more, and nobody can sign in."""
    sessions = import_module(settings.SESSION_ENGINE).SessionStore()
    for session_key in UserSession.objects.filter(user=user).values_list("session_key", flat=True):
        sessions.delete(session_key)
    user.is_active = False
    user.set_unusable_password()
    user.save(update_fields=["is_active", "password"])


def erase(user: User) -> None:
    remove_exports(user)
    KeptMail.objects.filter(Q(user=user) | Q(recipient__in=_addresses(user))).delete()
    _redact(user, KeptMail, "subject", "body")
    _redact(user, LogEntry, "object_repr", "change_message")
    _received(user).delete()
    # Nobody could accept what they still offer.
    offers = Invitation.objects.filter(invited_by=user)
    offers.pending().update(revoked_at=timezone.now(), mail_due_at=None)
    offers.update(invited_by=None)
    # Whoever shares an organization goes on with it; one's own goes with everything in it.
    alone = Organization.objects.annotate(people=Count("memberships")).filter(people=1, memberships__user=user)
    Organization.objects.filter(pk__in=list(alone.values_list("pk", flat=True))).delete()
    Membership.objects.filter(user=user).delete()
    for made in (ServiceAccount, JoinLink, Cohort):
        made._default_manager.filter(created_by=user).update(created_by=None)
    JoinLink.came.through._default_manager.filter(user=user).delete()
    TermsVersion.objects.filter(published_by=user).update(published_by=None)
    PlanChange.objects.filter(by=user).update(by=None)
    for model in (Removal, TermsAcceptance, EmailAddress, SocialAccount, Authenticator, UserSession):
        model._default_manager.filter(user=user).delete()
    forget_person(user)
    user.groups.clear()
    user.user_permissions.clear()
    # Another id, so that what counts usage by the old one stands for nobody.
    user.public_id = user_id()
    user.email = f"{user.public_id}@erased.invalid"
    user.name = user.language = ""
    user.is_active = user.is_staff = user.is_superuser = False
    user.last_login, user.last_project, user.erased_at = None, None, timezone.now()
    user.set_unusable_password()
    user.save()


def remove_exports(user: User) -> None:
    for export in AccountExport.objects.filter(user=user):
        export.file.delete(save=False)
        export.delete()


def _addresses(user: User) -> list[str]:
    """The one they sign in with and those they confirmed. Anybody can add an address that is somebody else's."""
    return [user.email, *EmailAddress.objects.filter(user=user, verified=True).values_list("email", flat=True)]


def _received(user: User) -> "QuerySet[Invitation]":
    """Invitations sent to an address of the user's, or accepted by them."""
    return Invitation.objects.filter(Q(email__in=_addresses(user)) | Q(accepted_by=user))


def _acts(user: User) -> Iterator[dict[str, object]]:
    person = getattr(user, "audit_person", None)
    if person is None:
        return
    origins = {origin.event_id: origin for origin in AuditOrigin.objects.filter(person=person.token)}
    for event in AuditEvent.objects.filter(Q(actor=person.token) | Q(target_id=person.token)).order_by("at"):
        origin = origins.get(event.pk)
        yield {
            "at": event.at,
            "action": event.action,
            "by_you": event.actor == person.token,
            "organization": event.organization_id,
            "target": event.target_id,
            "target_name": event.target_label,
            "before": event.before,
            "after": event.after,
            "request_id": event.request_id,
            "address": origin.address if origin else None,
            "user_agent": origin.user_agent if origin else None,
        }


def _redact(user: User, model: type[Model], *columns: str) -> None:
    """Take the name and the addresses of the user out of texts that are other people's, which stay."""
    words = "|".join(re.escape(word) for word in (user.name, *_addresses(user)) if word)
    # Whole words only, since somebody may be called "Al"; and no part of an address on the web, since somebody may be
    # called "http": the links in other people's mail go on working.
    pattern = rf"(?<![\w/:.@?&=#%-])({words})(?![\w/@-]|:/)"
    for column in columns:
        without = Func(F(column), Value(pattern), Value("…"), Value("gi"), function="regexp_replace")
        model._default_manager.filter(**{f"{column}__iregex": pattern}).update(**{column: without})


# What is exported is also erased.
THEIRS = frozenset(
    {
        "account.EmailAddress",
        "accounts.AccountExport",
        "accounts.AuditPerson",
        "accounts.Cohort",
        "accounts.Invitation",
        "accounts.JoinLink",
        "accounts.KeptMail",
        "accounts.Membership",
        "accounts.PlanChange",
        "accounts.Removal",
        "accounts.SecondFactor",
        "accounts.ServiceAccount",
        "accounts.TermsAcceptance",
        "accounts.User",
        "admin.LogEntry",
        "mfa.Authenticator",
        "socialaccount.SocialAccount",
        "usersessions.UserSession",
    }
)

HOLDING = Holding(
    app="accounts",
    exports=THEIRS,
    erases=THEIRS | {"accounts.TermsVersion"},
    export=export,
    erase=erase,
    cut_off=cut_off,
    keeps={
        "accounts.AccountErasure": "Says that an account was erased, and not whose it was.",
        "accounts.TermsVersion": "What the operator published; who did it is in the log of their acts.",
    },
)

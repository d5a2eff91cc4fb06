"""What people do with their accounts."""

from datetime import datetime

from allauth.account.models import EmailAddress
from django.db import transaction
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.audit import record
from accounts.models import (
    FIRST_PROJECT,
    PERSONAL,
    Membership,
    OperatorInvitation,
    Organization,
    Project,
    TermsAcceptance,
    TermsVersion,
    User,
)
from accounts.plans.services import begin_on_default_plan
from accounts.roles import Role
from accounts.signals import terms_changed
from common.tokens import new_token, token_hash


class InvitationSpentError(Exception):
    """The one-time operator link was used already, or was never made."""


@transaction.atomic
def open_workspace(*, user: User) -> Project:
    """The first project of a user, made with a personal organization when they have neither."""
    # Two first requests at once would make two workspaces; the row of the user lets one through at a time.
    User.objects.select_for_update().get(pk=user.pk)
    if project := Project.objects.for_member(user).first():
        return project
    # Mail is written in the language somebody signed up in, until they choose another.
    user.language = user.language or get_language() or ""
    user.save(update_fields=["language"])
    organization = Organization.objects.create(name=_(PERSONAL), is_personal=True, is_sample=user.is_sample)
    begin_on_default_plan(organization)
    Membership.objects.create(organization=organization, user=user, role=Role.OWNER)
    return Project.objects.create(organization=organization, name=_(FIRST_PROJECT))


@transaction.atomic
def register_verified(*, email: str) -> User:
    """The user with this address, made with a verified address, a workspace and no password when there is none."""
    address = email.strip().lower()
    user = User.objects.filter(email=address).first()
    if user is None:
        user = User.objects.create_user(address)
        EmailAddress.objects.create(user=user, email=address, verified=True, primary=True)
        open_workspace(user=user)
    return user


def invite_operator() -> str:
    """A new one-time token for the link that makes the first staff account; earlier links stop working."""
    token = new_token()
    with transaction.atomic():
        OperatorInvitation.objects.all().delete()
        OperatorInvitation.objects.create(token_hash=token_hash(token))
    return token


def operator_invitation_exists(*, token: str) -> bool:
    return OperatorInvitation.objects.filter(token_hash=token_hash(token)).exists()


@transaction.atomic
def accept_operator_invitation(*, token: str, email: str, password: str) -> User:
    """Make the staff account that `token` allows, once.

    Raises InvitationSpentError when the token was used before; two requests at once make one account.
    """
    spent, _details = OperatorInvitation.objects.filter(token_hash=token_hash(token)).delete()
    if not spent:
        raise InvitationSpentError
    user = User.objects.create_superuser(email, password)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    open_workspace(user=user)
    record("user.operator_made", by=user, target=user)
    return user


@transaction.atomic
def suspend_user(*, user: User, by: User) -> None:
    """Take from a user the right to write; reading and existing keys go on."""
    user.suspended_at = timezone.now()
    user.save(update_fields=["suspended_at"])
    record("user.suspended", by=by, target=user)


@transaction.atomic
def readmit_user(*, user: User, by: User) -> None:
    """Give a suspended user the right to write back."""
    user.suspended_at = None
    user.save(update_fields=["suspended_at"])
    record("user.readmitted", by=by, target=user)


@transaction.atomic
def publish_terms(*, english: str, chinese: str, in_force_at: datetime, by: User) -> TermsVersion:
    """A new version of the terms of use. From `in_force_at` on, pages and keys wait until its acceptance."""
    # Two at once would take the same number; the second waits for the first here.
    newest = TermsVersion.objects.select_for_update().order_by("-number").first()
    version = TermsVersion.objects.create(
        number=newest.number + 1 if newest else 1,
        english=english,
        chinese=chinese,
        in_force_at=in_force_at,
        published_by=by,
    )
    record("terms.published", by=by, target=version, after={"in_force_at": in_force_at.isoformat()})
    terms_changed.send(sender=TermsVersion, user=None)
    return version


@transaction.atomic
def accept_terms(*, version: TermsVersion, by: User) -> None:
    """Accept the terms; doing so again changes nothing."""
    _acceptance, is_new = TermsAcceptance.objects.get_or_create(user=by, version=version)
    if is_new:
        record("terms.accepted", by=by, target=version)
        terms_changed.send(sender=TermsVersion, user=by)


def has_accepted_terms(user: User) -> bool:
    """Whether no version in force is left for the user to accept; True while there are no terms."""
    return not TermsVersion.objects.owed_by(user).exists()


def owners_have_accepted_terms(organization: Organization) -> bool:
    """Whether the terms are accepted for what belongs to no person: an owner's acceptance stands for all of them."""
    owners = User.objects.filter(memberships__organization=organization, memberships__role=Role.OWNER)
    return not TermsVersion.objects.in_force().exists() or any(has_accepted_terms(owner) for owner in owners)

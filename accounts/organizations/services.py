"""What people do with organizations and with the places in them.

Whoever changes a place holds the row of its organization first: of two requests at once the second sees what the first
has done, so that neither can take away the last owner, nor act with a right that the other has just taken.
"""

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.access import rights_in_organization
from accounts.audit import record
from accounts.errors import RefusedError
from accounts.invitations.services import revoke_invitations_to
from accounts.models import Membership, Organization, Project, Removal, User
from accounts.plans.services import begin_on_default_plan
from accounts.roles import Right, Rights, Role
from accounts.signals import owner_made, rights_changed
from common.limits import NO_LIMITS


@transaction.atomic
def create_organization(*, name: str, by: User) -> Project:
    """A new organization that `by` owns, with a first project to work in, which is returned."""
    organization = Organization.objects.create(name=name)
    begin_on_default_plan(organization)
    Membership.objects.create(organization=organization, user=by, role=Role.OWNER)
    project = Project.objects.create(organization=organization, name=gettext("First project"))
    record("organization.created", by=by, target=organization, organization=organization, label=name)
    return project


@transaction.atomic
def rename_organization(*, organization: Organization, name: str, by: User) -> None:
    before = Organization.objects.select_for_update().get(pk=organization.pk).name
    if name == before:
        return
    organization.name = name
    organization.save(update_fields=["name"])
    record(
        "organization.renamed",
        by=by,
        target=organization,
        organization=organization,
        label=name,
        before={"name": before},
        after={"name": name},
    )


@transaction.atomic
def change_role(*, membership: Membership, role: Role, by: User) -> None:
    """Give a member another role.

    Raises PermissionDenied when an owner would be made or unmade by somebody else than an owner, and RefusedError when
    the organization would be left without one who can act.
    """
    member, rights = _hold(membership, by)
    before = Role(member.role)
    if before == role:
        return
    _require(rights, touches_owners=Role.OWNER in {before, role})
    if before == Role.OWNER:
        _keep_an_owner(member)
    if role == Role.OWNER:
        _check_account_is_on(member)
    _give(member, role, by)


@transaction.atomic
def remove_member(*, membership: Membership, by: User) -> None:
    """End a member's place in the organization and in all of its projects, at once. No join link lets them back in.

    Raises PermissionDenied when it is an owner's and `by` is none, and RefusedError when it is the last owner's.
    """
    member, rights = _hold(membership, by)
    _require(rights, touches_owners=member.role == Role.OWNER)
    _end(member, "member.removed", by)
    revoke_invitations_to(member.user, organization=member.organization, by=by)
    Removal.objects.get_or_create(organization=member.organization, user=member.user)


@transaction.atomic
def leave_organization(*, membership: Membership) -> None:
    """Give up one's own place in the organization and in all of its projects. A join link lets those back in who were
    held to no limits of their own: theirs end with the place.

    Raises RefusedError for the last owner.
    """
    member, _rights = _hold(membership, membership.user)
    _end(member, "member.left", member.user)
    if member.limits != NO_LIMITS:
        Removal.objects.get_or_create(organization=member.organization, user=member.user)


@transaction.atomic
def transfer_ownership(*, to: Membership, by: User) -> None:
    """Make another member the owner in place of `by`, who stays on as an admin.

    Raises PermissionDenied when `by` is no owner, and RefusedError when the other's account is switched off.
    """
    successor, rights = _hold(to, by)
    _require(rights, touches_owners=True)
    if successor.user_id == by.pk:
        return
    _check_account_is_on(successor)
    if successor.role != Role.OWNER:
        _give(successor, Role.OWNER, by)
    _give(Membership.objects.get(organization=successor.organization, user=by), Role.ADMIN, by)


def _hold(membership: Membership, by: User) -> tuple[Membership, Rights]:
    """The membership as it is now, and what `by` may do now, both certain until the transaction ends."""
    organization = Organization.objects.select_for_update().get(pk=membership.organization_id)
    member = Membership.objects.select_related("user").filter(pk=membership.pk).first()
    if member is None:
        # Removed between our look and our lock, by a second click or by somebody else.
        raise Http404
    member.organization = organization
    return member, rights_in_organization(by, organization)


def _require(rights: Rights, *, touches_owners: bool) -> None:
    if (Right.OWN if touches_owners else Right.MANAGE_PEOPLE) not in rights:
        raise PermissionDenied


def _keep_an_owner(owner: Membership) -> None:
    if owner.is_only_owner:
        raise RefusedError(
            _("An organization always has an owner, and this is the only one. Make another member an owner first."),
            code="last_owner",
        )


def _check_account_is_on(successor: Membership) -> None:
    if not successor.user.is_active:
        raise RefusedError(
            _("This account is switched off, so that nobody could act as the owner. Choose another member."),
            code="account_switched_off",
        )


def _give(member: Membership, role: Role, by: User) -> None:
    before = member.role
    member.role = role
    member.save(update_fields=["role"])
    record(
        "member.role_changed",
        by=by,
        target=member.user,
        organization=member.organization,
        before={"role": before},
        after={"role": role.value},
    )
    if role == Role.OWNER:
        owner_made.send(sender=Membership, membership=member, by=by)
    rights_changed.send(sender=Membership, user=member.user, organization=member.organization)


def _end(member: Membership, action: str, by: User) -> None:
    if member.role == Role.OWNER:
        _keep_an_owner(member)
    user, organization = member.user, member.organization
    member.delete()
    record(action, by=by, target=user, organization=organization, before={"role": member.role})
    rights_changed.send(sender=Membership, user=user, organization=organization)

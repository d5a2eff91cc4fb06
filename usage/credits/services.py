"""Credits: staff grant them to an organization, and they pay for its calls before its own money does."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from accounts.audit import person_token, record
from accounts.models import Membership, Organization, User
from accounts.roles import Role
from common.money import exact_dollars
from notifications.services import notify
from usage.counters import forget_grant
from usage.kinds import CREDITS_GRANTED, CREDITS_REVOKED
from usage.models import CreditGrant, CreditRevocation
from usage.policies import forget_held_to


@dataclass(frozen=True, slots=True)
class Balance:
    """An organization's grants as the ledger has them seconds after each call: those with something left come first, in
    the order in which they are drawn on."""

    grants: tuple[CreditGrant, ...]

    @property
    def left_nano(self) -> int:
        return sum(grant.left_nano for grant in self.grants)

    @property
    def used_nano(self) -> int:
        return sum(grant.used_nano for grant in self.grants)


def balance_of(organization: Organization) -> Balance:
    """In one query."""
    return Balance(tuple(sorted(CreditGrant.objects.of(organization), key=lambda grant: not grant.left_nano)))


@transaction.atomic
def grant_credits(
    *, organization: Organization, amount_nano: int, reason: str, expires_at: datetime | None, by: User
) -> CreditGrant:
    """Grant an organization credits, which its calls draw on from now on, and tell its owners.

    Raises ValidationError for an end that is past, for what is no amount and for want of a reason.
    """
    grant = CreditGrant(
        organization_id=organization.public_id,
        amount_nano=amount_nano,
        at_hand_nano=amount_nano + balance_of(organization).left_nano,
        reason=reason,
        # By the second, as calls are held to it.
        expires_at=expires_at and expires_at.replace(microsecond=0),
        granted_by=person_token(by),
    )
    grant.full_clean()
    grant.save()
    after = {"amount_nano": amount_nano, "reason": reason, "expires_at": expires_at and expires_at.isoformat()}
    amount = exact_dollars(amount_nano)
    record("credits.granted", by=by, target=grant, organization=organization, label=amount, after=after)
    _changed(organization, grant, CREDITS_GRANTED, reason, by=by)
    return grant


@transaction.atomic
def revoke_grant(*, grant: CreditGrant, reason: str, by: User) -> CreditRevocation:
    """Take back what is left of a grant, and tell the owners. What running calls reserved of it still pays for them.

    Raises ValidationError for one that was revoked before.
    """
    try:
        with transaction.atomic():
            revocation = CreditRevocation.objects.create(grant=grant, reason=reason, revoked_by=person_token(by))
    except IntegrityError:
        raise ValidationError(_("These credits were revoked already.")) from None
    # It may be gone, and the grant stays.
    organization = Organization.objects.filter(public_id=grant.organization_id).first()
    amount = exact_dollars(grant.amount_nano)
    record("credits.revoked", by=by, target=grant, organization=organization, label=amount, after={"reason": reason})
    if organization is not None:
        _changed(organization, grant, CREDITS_REVOKED, reason, by=by)
    # Told first: who still knows the grant would begin its counter anew.
    transaction.on_commit(partial(forget_grant, grant), robust=True)
    return revocation


def _changed(organization: Organization, grant: CreditGrant, kind: str, reason: str, *, by: User) -> None:
    # Told earlier, a gateway could read the old state back into its cache.
    transaction.on_commit(partial(forget_held_to, organization), robust=True)
    owners = Membership.objects.filter(organization=organization, role=Role.OWNER, user__is_active=True)
    for owner in owners.select_related("user"):
        notify(
            recipient=owner.user,
            kind=kind,
            object_id=grant.public_id,
            title=exact_dollars(grant.amount_nano),
            url=reverse("credits:overview", args=[organization.public_id]),
            detail=reason,
            actor=by,
        )

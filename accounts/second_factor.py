"""Who must have a second factor, who asks for it, and who has one."""

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import transaction
from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _

from accounts.audit import record
from accounts.models import Organization, User

# Recovery codes only stand in for one of these.
KINDS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


class NoSecondFactorError(Exception):
    """Somebody asks of others what they have not done themselves. Its text says what to do."""

    def __init__(self) -> None:
        super().__init__(
            _("Set up a second factor for your own account first: otherwise this would shut you out as well.")
        )


def second_factors_of(user: User) -> QuerySet[Model]:
    factors: QuerySet[Model] = Authenticator.objects.filter(user=user, type__in=KINDS)
    return factors


def organizations_requiring(user: User) -> QuerySet[Organization]:
    """The user's organizations whose owners ask their members for a second factor."""
    return Organization.objects.for_member(user).filter(requires_second_factor=True)


def is_required_of_staff(user: User) -> bool:
    """Whether the operator asks it of this user, as of all staff."""
    return bool(user.is_staff and settings.REQUIRE_SECOND_FACTOR_FOR_STAFF)


@transaction.atomic
def require_second_factor(*, organization: Organization, required: bool, by: User) -> None:
    """Ask every member of an organization for a second factor, or no longer; the next page of each is held to it.

    Keys are not affected. Raises NoSecondFactorError when `by` has none.
    """
    organization = Organization.objects.select_for_update().get(pk=organization.pk)
    if required and not second_factors_of(by).exists():
        raise NoSecondFactorError
    before = organization.requires_second_factor
    if before == required:
        return
    organization.requires_second_factor = required
    organization.save(update_fields=["requires_second_factor"])
    record(
        "organization.second_factor_changed",
        by=by,
        target=organization,
        organization=organization,
        label=organization.name,
        before={"required": before},
        after={"required": required},
    )

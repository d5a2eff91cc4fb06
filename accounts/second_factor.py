"""Who must have a second factor, who asks for it, and who has one."""

from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.db.models import JSONField, Model, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.audit import record
from accounts.models import Organization, User
from common.fields import renewed
from common.sealed import Sealed

# Recovery codes only stand in for one of these.
KINDS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
FEW_CODES = 3


def _renewed_factor(data: dict[str, Any]) -> dict[str, Any]:
    renewals: dict[str, Any] = {name: renewed(data[name]) for name in ("secret", "seed") if name in data}
    # Recovery codes that were drawn one by one, before there was a seed.
    if "migrated_codes" in data:
        renewals["migrated_codes"] = [renewed(code) for code in data["migrated_codes"]]
    return {**data, **renewals}


def _factors_with_secrets() -> QuerySet[Model]:
    kinds = [Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES]
    factors: QuerySet[Model] = Authenticator.objects.filter(type__in=kinds)
    return factors


# What accounts.adapter.SecondFactorAdapter encrypts is no field of its own: allauth keeps it within JSON.
SEALED = Sealed(
    label="mfa.Authenticator.data",
    rows=_factors_with_secrets,
    field="data",
    kept_as=JSONField,
    renew=_renewed_factor,
)


class NoSecondFactorError(Exception):
    """Somebody asks of others what they have not done themselves. Its text says what to do."""

    def __init__(self) -> None:
        super().__init__(
            _("Set up a second factor for your own account first: otherwise this would shut you out as well.")
        )


def second_factors_of(user: User | OuterRef) -> QuerySet[Model]:
    factors: QuerySet[Model] = Authenticator.objects.filter(user=user, type__in=KINDS)
    return factors


def organizations_requiring(user: User | OuterRef) -> QuerySet[Organization]:
    """The user's organizations whose owners ask their members for a second factor."""
    return Organization.objects.for_member(user).filter(requires_second_factor=True)


def is_required_of_staff(user: User) -> bool:
    """Whether the operator asks it of this user, as of all staff."""
    return bool(user.is_staff and settings.REQUIRE_SECOND_FACTOR_FOR_STAFF)


def tell_of_codes_left(request: HttpRequest, authenticator: Authenticator, **_signal: object) -> None:
    """Say how many recovery codes are left to somebody who has just used one."""
    if authenticator.type != Authenticator.Type.RECOVERY_CODES:
        return
    # The code was crossed out in the database, behind the back of this object.
    authenticator.refresh_from_db()
    left = len(authenticator.wrap().get_unused_codes())
    if left == 0:
        said = _("That was your last recovery code. Make new ones under Settings, Two-factor authentication.")
    else:
        said = ngettext(
            "You used a recovery code; %(count)s is left.", "You used a recovery code; %(count)s are left.", left
        ) % {"count": left}
        if left <= FEW_CODES:
            said = _("%(said)s Make new ones under Settings, Two-factor authentication.") % {"said": said}
    messages.add_message(request, messages.WARNING if left <= FEW_CODES else messages.INFO, said)


@transaction.atomic
def require_second_factor(*, organization: Organization, required: bool, by: User) -> None:
    """Ask every member of an organization for a second factor, or no longer; the next page of each is held to it.

    Management keys are held to it as pages are, keys for models are not. Raises NoSecondFactorError when `by` has none.
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

"""What is wrong with keys: for the page that mends it, and for the REST API."""

from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from apikeys.models import ApiKey, ApiKeyQuerySet, KeyPolicy, KeySecret, KeyState
from apikeys.services import change_key, shorten_key
from apikeys.verification import current_pepper_version
from common.limits import LIMITS

IDLE = timedelta(days=90)
FIXED_LIFETIME = timedelta(days=90)
FIXED_REQUESTS, FIXED_TOKENS = 60, 100_000
MOST_COUNTED = 100


class Finding(models.TextChoices):
    """Something a key would be better without, the most urgent first."""

    LEAKED = "leaked", _("Seen leaked")
    OWNER_LEFT = "owner_left", _("Owner has left")
    OUTLIVES_POLICY = "outlives_policy", _("Lives longer than allowed")
    TOO_WIDE = "too_wide", _("Opens everything")
    NEVER_EXPIRES = "never_expires", _("Never expires")
    NO_LIMIT = "no_limit", _("No limit")
    IDLE = "idle", _("Not used for 90 days")
    OLD_PEPPER = "old_pepper", _("Old pepper")

    @property
    def why(self) -> str:
        """Why it matters and what to do."""
        return str(REASONS[self])


REASONS = {
    Finding.LEAKED: _(
        "Somebody found it where it should not be, so others may hold it too. Rotate it so that the old secret ends at "
        "once, or revoke it."
    ),
    Finding.OWNER_LEFT: _(
        "Whose key it is has left, or may make no keys here any more. Calls with it are refused, and would work again "
        "if they came back. Revoke it."
    ),
    Finding.OUTLIVES_POLICY: _(
        "It is older than the policy of the organization, which sets a shorter life. Bring it in line."
    ),
    Finding.TOO_WIDE: _("Whoever gets hold of it may use every model and endpoint, from anywhere. Restrict it."),
    Finding.NEVER_EXPIRES: _("Forgotten, it works forever. Let it expire: it can be rotated before."),
    Finding.NO_LIMIT: _("A loop in a program can use all there is. Set limits or a budget."),
    Finding.IDLE: _("Nobody would miss it, but a thief could use it. Disable it; it can be enabled again."),
    Finding.OLD_PEPPER: _("Its secret is hashed with a pepper that is to be given up. Rotate it."),
}


class Fix(models.TextChoices):
    """What can be done about a finding by one click."""

    EXPIRE = "expire", _("Expire in 90 days")
    LIMIT = "limit", _("Set limits")
    SHORTEN = "shorten", _("Bring it in line")


def with_finding(keys: ApiKeyQuerySet, finding: Finding) -> ApiKeyQuerySet:
    """Those of `keys` that work and have the finding; what outlives the policy, also while it is disabled.

    What has stopped with its owner would only not work.
    """
    if finding is Finding.OWNER_LEFT:
        return keys.in_state(KeyState.STOPPED)
    if finding is Finding.OUTLIVES_POLICY:
        return keys.outliving()
    now = timezone.now()
    old = KeySecret.objects.valid().filter(key=OuterRef("pk"), pepper_version__lt=current_pepper_version())
    found = KeySecret.objects.leaked().filter(key=OuterRef("pk"))
    conditions = {
        Finding.LEAKED: Q(Exists(found)),
        Finding.TOO_WIDE: Q(allowed_models=[], allowed_endpoints=[], allowed_networks=[]),
        Finding.NEVER_EXPIRES: Q(expires_at=None),
        Finding.NO_LIMIT: Q(**dict.fromkeys(LIMITS)),
        Finding.IDLE: Q(last_used_at__lt=now - IDLE) | Q(last_used_at=None, created_at__lt=now - IDLE),
        Finding.OLD_PEPPER: Q(Exists(old)),
    }
    return keys.in_state(KeyState.ACTIVE).filter(conditions[finding])


def counts(keys: ApiKeyQuerySet) -> dict[Finding, int]:
    """How many of `keys` have each finding, no further than anybody needs to know."""
    return {finding: with_finding(keys, finding).order_by()[:MOST_COUNTED].count() for finding in Finding}


def fix_key(*, key: ApiKey, fix: Fix, by: User) -> None:
    """Do it. Raises RevokedError, and PolicyViolationError where the policy wants more than the fix gives."""
    if fix is Fix.SHORTEN:
        shorten_key(key=key, by=by)
        return
    changes: dict[str, Any] = {"requests_per_minute": FIXED_REQUESTS, "tokens_per_minute": FIXED_TOKENS}
    if fix is Fix.EXPIRE:
        changes = {"expires_at": fixed_expiry(key)}
    change_key(key=key, changes=changes, by=by)


def fixed_expiry(key: ApiKey) -> datetime:
    """In 90 days, or as soon as the policy demands."""
    expiry = timezone.now() + FIXED_LIFETIME
    if key.project is None:
        return expiry
    latest = KeyPolicy.objects.of(key.project.organization).latest_expiry(key.secrets.get(valid_until=None).created_at)
    # One that has lived too long already is refused by the policy, and is another finding.
    return min(expiry, latest) if latest and latest > timezone.now() else expiry

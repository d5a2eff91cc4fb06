"""What a key may do and for how long: the part of it that is chosen when it is made, and changed later."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self

from django.utils import timezone
from django.utils.translation import gettext as _

from apikeys.models import ApiKey, KeyPolicy
from common.limits import default_alerts
from common.networks import outside
from inference.endpoints import ENDPOINTS

# What a key may be held to: paths below /v1. The list of models is left out, since it can always be read.
ENDPOINTS_OF_KEYS = (*ENDPOINTS, "files", "batches")


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a key. Empty tuples leave nothing out, None is no limit."""

    description: str = ""
    allowed_models: tuple[str, ...] = ()
    allowed_endpoints: tuple[str, ...] = ()
    allowed_networks: tuple[str, ...] = ()
    is_read_only: bool = False
    expires_at: datetime | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    gpu_seconds_per_day: int | None = None
    daily_budget_nano: int | None = None
    weekly_budget_nano: int | None = None
    monthly_budget_nano: int | None = None
    alert_percents: tuple[int, ...] = tuple(default_alerts())

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """The terms that a key has."""
        values: dict[str, Any] = {field.name: getattr(key, field.name) for field in fields(cls)}
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**(values | lists))

    def apply(self, key: ApiKey) -> None:
        """Put them on a key, which is not saved."""
        for field in fields(self):
            value = getattr(self, field.name)
            setattr(key, field.name, list(value) if isinstance(value, tuple) else value)

    def changed_from(self, before: "Terms") -> list[str]:
        """The names of what differs."""
        return [field.name for field in fields(self) if getattr(self, field.name) != getattr(before, field.name)]


TERMS = [field.name for field in fields(Terms)]


def as_json(terms: Terms, names: list[str]) -> dict[str, Any]:
    """Some of the terms as the audit log holds them."""
    values = {name: getattr(terms, name) for name in names}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


class RefusedTermsError(Exception):
    """A key may not have these terms. `faults` says why, for each field that is at fault."""

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__(" ".join(faults.values()))
        self.faults = faults


class PolicyViolationError(RefusedTermsError):
    """The organization's policy for keys forbids them."""


class WiderThanMakerError(RefusedTermsError):
    """They allow more than the management key does that is used to make, change, rotate or enable the key."""


def check_policy(policy: KeyPolicy, terms: Terms, *, since: datetime, changed: list[str]) -> None:
    """Raise PolicyViolationError where what is `changed` breaks the policy; the lifetime counts from `since`."""
    faults = {name: fault for name, fault in _faults(policy, terms, since).items() if name in changed}
    if faults:
        raise PolicyViolationError(faults)


def check_rotation(policy: KeyPolicy, terms: Terms, *, since: datetime) -> None:
    """Raise PolicyViolationError where a key of these terms would let a secret made now outlive the policy.

    `since` is when its newest secret was made, which bounds the time that the key can be given first.
    """
    now = timezone.now()
    latest, settable = policy.latest_expiry(now), policy.latest_expiry(since)
    if latest is None or settable is None or (terms.expires_at is not None and terms.expires_at <= latest):
        return
    if settable > now:
        check_policy(policy, terms, since=since, changed=["expires_at"])
    fault = _(
        "%(organization)s lets a key live for at most %(days)s days, and this one is older. Make a new key in its "
        "place, then revoke this one."
    ) % {"organization": policy.organization, "days": policy.longest_lifetime_days}
    raise PolicyViolationError({"expires_at": fault})


def check_maker(maker: ApiKey | None, terms: Terms, *, changed: list[str]) -> None:
    """Raise WiderThanMakerError where what is `changed` is wider than a management key; None is a person signed in.

    A restricted key in a thief's hands would otherwise make one that works from anywhere and forever. What else a
    management key is held to means nothing to a key for models.
    """
    if maker is None:
        return
    faults = {}
    if maker.expires_at and (terms.expires_at is None or terms.expires_at > maker.expires_at):
        faults["expires_at"] = _(
            "The management key that you use ends at %(latest)s (UTC), and what it makes, changes, rotates or enables "
            "ends no later. Choose a time until then, or sign in to the site to do this."
        ) % {"latest": f"{maker.expires_at:%Y-%m-%d %H:%M}"}
    strays = outside(terms.allowed_networks, maker.allowed_networks)
    # An empty list is wider than any.
    if maker.allowed_networks and (strays or not terms.allowed_networks):
        faults["allowed_networks"] = _(
            "The management key that you use may be used from %(allowed)s only, and so may what it makes, changes, "
            "rotates or enables. Name these networks or some within them, or sign in to the site to do this."
        ) % {"allowed": ", ".join(maker.allowed_networks)}
    faults = {name: fault for name, fault in faults.items() if name in changed}
    if faults:
        raise WiderThanMakerError(faults)


def _faults(policy: KeyPolicy, terms: Terms, since: datetime) -> dict[str, str]:
    faults = {}
    latest = policy.latest_expiry(since)
    if latest is not None and (terms.expires_at is None or terms.expires_at > latest):
        faults["expires_at"] = _(
            "%(organization)s lets a key live for at most %(days)s days. Choose a time until %(latest)s (UTC)."
        ) % {
            "organization": policy.organization,
            "days": policy.longest_lifetime_days,
            "latest": f"{latest:%Y-%m-%d %H:%M}",
        }
    strays = outside(terms.allowed_networks, policy.allowed_networks) if policy.allowed_networks else []
    if strays:
        faults["allowed_networks"] = _(
            "%(organization)s lets keys be used from %(allowed)s only, and %(strays)s is not within. Narrow the list, "
            "or leave it empty: the organization’s own then holds."
        ) % {
            "organization": policy.organization,
            "allowed": ", ".join(policy.allowed_networks),
            "strays": ", ".join(strays),
        }
    return faults

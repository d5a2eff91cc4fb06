"""What people do with keys."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any, TypedDict, Unpack

from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from accounts.audit import record
from accounts.models import Organization, Project, ServiceAccount, User
from accounts.signals import limits_changed
from apikeys.kinds import SHORTENED
from apikeys.models import NOTICE, ApiKey, KeyKind, KeyMakers, KeyPolicy, KeySecret
from apikeys.signals import key_changed, key_created, key_revoked
from apikeys.terms import TERMS, Terms, as_json, check_maker, check_policy, check_rotation
from apikeys.verification import current_pepper_version, digest_of, new_secret
from common.edits import check_unchanged
from common.limits import LIMITS
from notifications.services import notify

NO_TERMS = Terms()
FREE_TEXT = {"name", "description"}
WITHHELD = "…"
MOST_SHORTENED = 200


class MintedAlreadyError(Exception):
    """A form was sent twice; the first time made the key, and showed its secret."""


class RevokedError(Exception):
    """The key was revoked, which cannot be undone."""


class PolicyChanges(TypedDict, total=False):
    """What of an organization's policy is to change; what is left out stays as it is."""

    longest_lifetime_days: int | None
    default_budget_nano: int | None
    allowed_networks: tuple[str, ...]
    makers: KeyMakers
    revokes_leaked: bool


@transaction.atomic
def mint_key(
    *,
    project: Project,
    name: str,
    by: User,
    submission: str = "",
    service_account: ServiceAccount | None = None,
    terms: Terms = NO_TERMS,
    via: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """A new key of `project` and its secret, which is kept nowhere: whoever asked must be shown it now.

    With a service account it is the project's, and outlives its maker's place in it. `via` is the management key that
    `by` uses, if any: here and below, a key is made no wider than it. Raises MintedAlreadyError when a form with this
    `submission` has made its key, PolicyViolationError and WiderThanMakerError.
    """
    policy = KeyPolicy.objects.of(project.organization)
    check_policy(policy, terms, since=timezone.now(), changed=TERMS)
    check_maker(via, terms, changed=TERMS)
    kind = KeyKind.SERVICE if service_account else KeyKind.PROJECT
    key = ApiKey(project=project, kind=kind, service_account=service_account, name=name, submission=submission)
    return _mint(key, by=by, terms=terms)


@transaction.atomic
def mint_management_key(*, owner: User, name: str, submission: str = "", terms: Terms = NO_TERMS) -> tuple[ApiKey, str]:
    """A new key to the REST API, with which programs may do all that its owner may; and its secret, as `mint_key`.

    Raises MintedAlreadyError when a form with this `submission` has made its key.
    """
    key = ApiKey(owner=owner, kind=KeyKind.MANAGEMENT, name=name, submission=submission)
    return _mint(key, by=owner, terms=terms)


def _mint(key: ApiKey, *, by: User, terms: Terms) -> tuple[ApiKey, str]:
    secret, kept = _new_secret(key)
    key.created_by, key.prefix, key.last4 = by, kept.prefix, kept.last4
    terms.apply(key)
    try:
        with transaction.atomic():
            key.save()
    except IntegrityError as error:
        raise MintedAlreadyError from error
    kept.save()
    scope = {"kind": key.kind, "project": key.project.public_id if key.project else None}
    record(
        "key.created",
        by=by,
        target=key,
        organization=key.organization,
        label=label_of(key),
        after={**scope, **for_audit(key, as_json(terms, terms.changed_from(NO_TERMS)))},
    )
    key_created.send(sender=ApiKey, key=key, by=by)
    announce([kept.digest])
    return key, secret


def _new_secret(key: ApiKey, *, submission: str = "") -> tuple[str, KeySecret]:
    secret = new_secret(key.kind)
    prefix, _underscore, payload = secret.partition("_")
    kept = KeySecret(
        key=key,
        prefix=f"{prefix}_{payload[:4]}",
        last4=secret[-4:],
        digest=digest_of(secret) or "",
        pepper_version=current_pepper_version(),
        submission=submission,
    )
    return secret, kept


@transaction.atomic
def rotate_key(*, key: ApiKey, overlap: timedelta, by: User, submission: str = "", via: ApiKey | None = None) -> str:
    """A new secret of the key, to be shown now; the one it had works on for `overlap`, older ones no longer than that.

    Raises RevokedError, MintedAlreadyError when a form with this `submission` has made its secret,
    PolicyViolationError when the new one could live for longer than the policy lets it, and WiderThanMakerError.
    """
    locked = _locked(key)
    if submission and locked.secrets.filter(submission=submission).exists():
        raise MintedAlreadyError
    check_maker(via, Terms.of(locked), changed=TERMS)
    if locked.project is not None:
        policy = KeyPolicy.objects.of(locked.project.organization)
        check_rotation(policy, Terms.of(locked), since=locked.secrets.get(valid_until=None).created_at)
    until = timezone.now() + overlap
    older = list(locked.secrets.valid())
    for old in older:
        old.valid_until = min(old.valid_until or until, until)
    KeySecret.objects.bulk_update(older, ["valid_until"])
    secret, kept = _new_secret(locked, submission=submission)
    kept.save()
    for row in (locked, key):
        row.prefix, row.last4 = kept.prefix, kept.last4
    locked.save(update_fields=["prefix", "last4"])
    after = {"secret": kept.public_id, "old_valid_until": until.isoformat()}
    record("key.rotated", by=by, target=key, organization=key.organization, label=label_of(locked), after=after)
    announce([kept.digest, *(old.digest for old in older)])
    return secret


@transaction.atomic
def retire_secret(*, secret: KeySecret, by: User) -> None:
    """End an older secret of a key now. Ended already, nothing changes; the newest ends only with its key."""
    retired = KeySecret.objects.valid().filter(pk=secret.pk).exclude(valid_until=None)
    if retired.update(valid_until=timezone.now()):
        key = secret.key
        after = {"secret": secret.public_id}
        record("key.secret_retired", by=by, target=key, organization=key.organization, label=label_of(key), after=after)
        announce([secret.digest])


@transaction.atomic
def change_key(
    *,
    key: ApiKey,
    changes: dict[str, Any],
    by: User,
    via: ApiKey | None = None,
    shown: Mapping[str, Any] | None = None,
) -> None:
    """Give a key another name and other terms; running gateways enforce them from the next call on.

    `changes` holds a new `name` and new terms by their names, `shown` what a form showed of them. Raises RevokedError,
    PolicyViolationError and WiderThanMakerError for what is changed to something that is not allowed, and
    ChangedMeanwhileError as `check_unchanged` does.
    """
    locked = _locked(key)
    before = Terms.of(locked)
    # Put together under the lock: what somebody else changes at the same time must not be set back.
    name = changes.get("name", locked.name)
    terms = replace(before, **{field: value for field, value in changes.items() if field in TERMS})
    check_unchanged(changes, shown=shown, now={field: getattr(locked, field) for field in changes})
    changed = terms.changed_from(before)
    check_maker(via, terms, changed=changed)
    if locked.project is not None and changed:
        policy = KeyPolicy.objects.of(locked.project.organization)
        check_policy(policy, terms, since=locked.secrets.get(valid_until=None).created_at, changed=changed)
    _change(key, locked, terms=terms, name=name, by=by)


def _change(key: ApiKey, locked: ApiKey, *, terms: Terms, name: str, by: User) -> None:
    before = Terms.of(locked)
    changed = terms.changed_from(before)
    old_name = {} if name == locked.name else {"name": locked.name}
    new_name = {} if name == locked.name else {"name": name}
    for row in (locked, key):
        terms.apply(row)
        row.name = name
    if not changed and not new_name:
        return
    locked.save(update_fields=["name", *TERMS])
    record(
        "key.changed",
        by=by,
        target=key,
        organization=key.organization,
        label=label_of(key),
        before=for_audit(key, {**old_name, **as_json(before, changed)}),
        after=for_audit(key, {**new_name, **as_json(terms, changed)}),
    )
    _announce(key)
    if set(changed) & set(LIMITS):
        limits_changed.send(sender=ApiKey, limited=locked)


@transaction.atomic
def shorten_key(*, key: ApiKey, by: User) -> None:
    """Have a key that outlives the policy of its organization end when that says, or in a week where that is later.

    Whoever made it is told. One that keeps to the policy stays as it is. Raises RevokedError.
    """
    _locked(key)
    for locked in ApiKey.objects.filter(pk=key.pk).outliving():
        _shorten(locked, by=by)


@transaction.atomic
def shorten_keys(*, organization: Organization, by: User) -> int:
    """Do that to the keys of all its projects, no more at once than a page waits for, and say to how many."""
    keys = ApiKey.objects.of_organization(organization).outliving().order_by("pk")
    # Locked as they are looked up: one that is revoked meanwhile is not among them.
    locked = list(keys.select_for_update(of=("self",)).select_related("project__organization")[:MOST_SHORTENED])
    for key in locked:
        _shorten(key, by=by)
    return len(locked)


def _shorten(locked: ApiKey, *, by: User) -> None:
    end = max(locked.must_end, timezone.now() + NOTICE)
    _change(locked, locked, terms=replace(Terms.of(locked), expires_at=end), name=locked.name, by=by)
    if locked.created_by is not None:
        notify(
            recipient=locked.created_by,
            kind=SHORTENED,
            object_id=locked.public_id,
            title=locked.name,
            url=reverse("apikeys:detail", args=[locked.public_id]),
            actor=by,
            detail=f"{end:%Y-%m-%d %H:%M} (UTC)",
        )


@transaction.atomic
def disable_key(*, key: ApiKey, by: User | None) -> None:
    """Have calls with a key refused within a second, until it is enabled again."""
    if ApiKey.objects.filter(pk=key.pk, revoked_at=None, disabled_at=None).update(disabled_at=timezone.now()):
        record("key.disabled", by=by, target=key, organization=key.organization, label=label_of(key))
        _announce(key)


@transaction.atomic
def enable_key(*, key: ApiKey, by: User, via: ApiKey | None = None) -> None:
    """Let a disabled key work again. Raises RevokedError and WiderThanMakerError."""
    check_maker(via, Terms.of(_locked(key)), changed=TERMS)
    if ApiKey.objects.filter(pk=key.pk).exclude(disabled_at=None).update(disabled_at=None):
        record("key.enabled", by=by, target=key, organization=key.organization, label=label_of(key))
        _announce(key)


@transaction.atomic
def revoke_key(*, key: ApiKey, by: User | None) -> None:
    """End a key for good. Calls with it are refused within a second; revoking it again changes nothing."""
    revoked = ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now(), revoked_by=by)
    if revoked:
        record("key.revoked", by=by, target=key, organization=key.organization, label=label_of(key))
        key_revoked.send(sender=ApiKey, key=key, by=by)
        _announce(key)


@transaction.atomic
def change_policy(
    *, organization: Organization, by: User, shown: Mapping[str, Any] | None = None, **changes: Unpack[PolicyChanges]
) -> KeyPolicy:
    """Set what an organization demands of its keys. The networks hold for every key from its next call on.

    `shown` is what a form showed. Raises ChangedMeanwhileError as `check_unchanged` does.
    """
    # Held, so that the first policy is made once, and what was before is what really was.
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    policy = KeyPolicy.objects.of(organization)
    after: dict[str, Any] = {**changes}
    if "allowed_networks" in changes:
        after["allowed_networks"] = list(changes["allowed_networks"])
    if "makers" in changes:
        after["makers"] = str(changes["makers"])
    before = {name: getattr(policy, name) for name in after}
    check_unchanged(after, shown=shown, now=before)
    for name, value in after.items():
        setattr(policy, name, value)
    policy.save()
    changed = [name for name in after if after[name] != before[name]]
    if changed:
        record(
            "key_policy.changed",
            by=by,
            target=organization,
            organization=organization,
            label=organization.name,
            before={name: before[name] for name in changed},
            after={name: after[name] for name in changed},
        )
    if "allowed_networks" in changed:
        secrets = KeySecret.objects.filter(key__project__organization=organization)
        announce(list(secrets.values_list("digest", flat=True)))
    return policy


def label_of(key: ApiKey) -> str:
    """What the audit log calls a key. People name keys after themselves, and the log cannot forget: theirs by a hint.

    A service key is the project's, and so is its name.
    """
    return key.name if key.kind == KeyKind.SERVICE else key.hint


def for_audit(key: ApiKey, values: dict[str, Any]) -> dict[str, Any]:
    """The values without what leads to a person: their words about a key of their own, and single IP addresses.

    That they changed can be said.
    """
    if key.kind == KeyKind.SERVICE:
        return values
    kept = {name: WITHHELD if name in FREE_TEXT else value for name, value in values.items()}
    if "allowed_networks" in kept:
        kept["allowed_networks"] = [
            WITHHELD if ip_network(network).num_addresses == 1 else network for network in kept["allowed_networks"]
        ]
    return kept


def _locked(key: ApiKey) -> ApiKey:
    locked = ApiKey.objects.select_for_update(of=("self",)).select_related("project__organization").get(pk=key.pk)
    if locked.is_revoked:
        raise RevokedError
    return locked


def _announce(key: ApiKey) -> None:
    announce(list(key.secrets.values_list("digest", flat=True)))


def announce(digests: list[str]) -> None:
    """Tell who holds policies that these secrets, or what they open, changed: once this transaction is committed."""
    # Told earlier, a gateway could read the old row back into its cache.
    transaction.on_commit(lambda: key_changed.send(sender=ApiKey, digests=digests), robust=True)


def announce_deleted(sender: type[KeySecret], instance: KeySecret, **kwargs: object) -> None:
    announce([instance.digest])


def mark_used(*, secret: KeySecret, address: str, agent: str) -> None:
    """Note on a secret when and from where it was used, at most once a minute."""
    now = timezone.now()
    if _is_recent(secret.last_used_at, now):
        return
    KeySecret.objects.filter(pk=secret.pk).update(
        last_used_at=now, last_used_address=address or None, last_used_agent=agent
    )
    ApiKey.objects.filter(pk=secret.key_id).update(last_used_at=now)


def _is_recent(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and now - moment < timedelta(minutes=1)

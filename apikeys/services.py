"""What people do with keys."""

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import Project, User
from apikeys.models import ApiKey
from apikeys.signals import key_changed
from apikeys.verification import current_pepper_version, digest_of, new_secret


class MintedAlreadyError(Exception):
    """A form was sent twice; the first time made the key, and showed its secret."""


@transaction.atomic
def mint_key(*, project: Project, name: str, by: User, submission: str = "") -> tuple[ApiKey, str]:
    """A new key of `project` and its secret, which is kept nowhere: whoever asked must be shown it now.

    Raises MintedAlreadyError when a form with this `submission` has made its key.
    """
    secret = new_secret()
    prefix, _underscore, payload = secret.partition("_")
    key = ApiKey(
        project=project,
        name=name,
        prefix=f"{prefix}_{payload[:4]}",
        last4=secret[-4:],
        digest=digest_of(secret) or "",
        pepper_version=current_pepper_version(),
        created_by=by,
        submission=submission,
    )
    try:
        with transaction.atomic():
            key.save()
    except IntegrityError as error:
        raise MintedAlreadyError from error
    _announce(key)
    return key, secret


@transaction.atomic
def revoke_key(*, key: ApiKey, by: User) -> None:
    """End a key for good. Calls with it are refused within a second; revoking it again changes nothing."""
    revoked = ApiKey.objects.usable().filter(pk=key.pk).update(revoked_at=timezone.now(), revoked_by=by)
    if revoked:
        _announce(key)


@transaction.atomic
def change_key(*, key: ApiKey) -> None:
    """Save the name and the limits of a key; running gateways enforce them from the next call on."""
    key.save(
        update_fields=["name", "requests_per_minute", "tokens_per_minute", "concurrent_requests", "monthly_budget_nano"]
    )
    _announce(key)


def _announce(key: ApiKey) -> None:
    # After commit: told earlier, a gateway could read the old row back into its cache.
    transaction.on_commit(lambda: key_changed.send(sender=ApiKey, digest=key.digest), robust=True)


def announce_deleted(sender: type[ApiKey], instance: ApiKey, **kwargs: object) -> None:
    _announce(instance)

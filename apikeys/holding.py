"""What is held about a person's keys."""

from collections.abc import Iterator

from django.db.models import Q

from accounts.holdings import Document, Holding, as_table
from accounts.models import User
from apikeys.models import ApiKey, KeySecret
from apikeys.services import revoke_key
from webhooks.models import Message


def export(user: User) -> Iterator[Document]:
    keys = ApiKey.objects.filter(Q(created_by=user) | Q(owner=user))
    yield as_table(
        "keys/keys.json",
        keys,
        *("public_id", "name", "description", "kind", "prefix", "last4", "project__public_id", "is_read_only"),
        *("allowed_models", "allowed_endpoints", "allowed_networks", "created_at", "expires_at", "last_used_at"),
        *("disabled_at", "leaked_at", "revoked_at"),
    )
    yield as_table(
        "keys/secrets.json",
        KeySecret.objects.filter(key__in=keys),
        *("key__public_id", "prefix", "last4", "created_at", "valid_until"),
        *("last_used_at", "last_used_address", "last_used_agent", "leaked_at"),
    )


def cut_off(user: User) -> None:
    """Their own keys end; those of service accounts belong to projects and go on."""
    own = Q(created_by=user, service_account=None) | Q(owner=user)
    # A disabled key as well: somebody could enable it.
    for key in ApiKey.objects.unrevoked().filter(own):
        revoke_key(key=key, by=user)


def erase(user: User) -> None:
    # The programs of service accounts may run where their maker does.
    KeySecret.objects.filter(key__created_by=user).update(last_used_address=None, last_used_agent="")
    ApiKey.objects.filter(owner=user).delete()
    # Names of keys say whose laptop it is; sums of usage still need something to call the key.
    for key in ApiKey.objects.filter(created_by=user, service_account=None).select_related("project__organization"):
        ApiKey.objects.filter(pk=key.pk).update(name=key.hint, description="", allowed_networks=[])
        told = Message.objects.filter(organization=key.organization, event_type__startswith="key.")
        for message in told.filter(data__id=key.public_id):
            message.data["name"] = key.hint
            message.save(update_fields=["data"])


HOLDING = Holding(
    app="apikeys",
    exports=frozenset({"apikeys.ApiKey", "apikeys.KeySecret"}),
    erases=frozenset({"apikeys.ApiKey", "apikeys.KeySecret"}),
    export=export,
    erase=erase,
    cut_off=cut_off,
)

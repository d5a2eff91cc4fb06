"""What is held about a person's keys."""

from collections.abc import Iterator

from accounts.holdings import Document, Holding, as_table
from accounts.models import User
from apikeys.models import ApiKey
from apikeys.services import revoke_key


def export(user: User) -> Iterator[Document]:
    yield as_table(
        "keys/keys.json",
        ApiKey.objects.filter(created_by=user),
        *(
            "public_id",
            "name",
            "kind",
            "prefix",
            "last4",
            "project__public_id",
            "created_at",
            "last_used_at",
            "revoked_at",
        ),
    )


def cut_off(user: User) -> None:
    """Their own keys end; those of service accounts belong to projects and go on."""
    for key in ApiKey.objects.usable().filter(created_by=user, service_account=None):
        revoke_key(key=key, by=user)


def erase(user: User) -> None:
    # Names of keys say whose laptop it is; sums of usage still need something to call the key.
    for key in ApiKey.objects.filter(created_by=user, service_account=None):
        ApiKey.objects.filter(pk=key.pk).update(name=key.hint)


HOLDING = Holding(
    app="apikeys",
    exports=frozenset({"apikeys.ApiKey"}),
    erases=frozenset({"apikeys.ApiKey"}),
    export=export,
    erase=erase,
    cut_off=cut_off,
)

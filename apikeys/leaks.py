"""Keys that are where they should not be: found by somebody, or about to be published."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import models, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.access import rights_in
from accounts.audit import record
from accounts.auditing.reading import entries
from accounts.models import AuditEvent, Membership, User
from accounts.roles import NONE, Rights, Role
from apikeys.access import may_change, may_see
from apikeys.kinds import FLAGGED, REVOKED
from apikeys.models import ApiKey, KeyPolicy, KeySecret, KeySecretQuerySet
from apikeys.services import label_of, revoke_key
from apikeys.signals import key_leaked
from apikeys.verification import digests_of, find_keys
from notifications.services import notify

MOST_KEYS = 20
MOST_PLACE_CHARACTERS = 300
# A key that is only flagged can be reported again and again, by whoever has it.
NO_NEWS = timedelta(days=1)


class Way(models.TextChoices):
    """By which way a report came."""

    PAGE = "page", _("Somebody not signed in, on the page for found keys")
    GITHUB = "github", _("GitHub’s secret scanning")
    API = "api", _("A program, or somebody who uses the API, without an account")


def live_keys_in(text: str) -> list[ApiKey]:
    """The keys whose secrets stand in `text` and could still open something; junk is told apart without a look-up.

    A disabled or an expired key counts: it can be brought back.
    """
    keys = ApiKey.objects.filter(pk__in=_live_secrets_in(text).values("key"))
    return list(keys.select_related("project__organization", "owner", "created_by").order_by("pk"))


def _live_secrets_in(text: str) -> KeySecretQuerySet:
    digests = [digest for secret in dict.fromkeys(find_keys(text)) for digest in digests_of(secret)]
    return KeySecret.objects.valid().filter(digest__in=digests, key__revoked_at=None)


@transaction.atomic
def report_leak(*, text: str, found_at: str = "", by: User | None = None, way: Way = Way.PAGE) -> None:
    """Revoke or flag the keys in `text`, as the policy of their organization says, and tell those they belong to.

    Nothing is returned: whoever reports a key learns nothing of it. `found_at` is where it was found, in their words.
    A secret that was reported within the day is no news: nothing is recorded and nobody told.
    """
    place = without_keys(found_at).strip()[:MOST_PLACE_CHARACTERS]
    secrets = _live_secrets_in(text)
    for key in live_keys_in(text)[:MOST_KEYS]:
        _act_on(key, secrets.filter(key=key), place=place, by=by, way=way)


def _act_on(key: ApiKey, found: KeySecretQuerySet, *, place: str, by: User | None, way: Way) -> None:
    key = ApiKey.objects.select_for_update(of=("self",)).select_related("project__organization").get(pk=key.pk)
    is_ended = revokes_leaked(key)
    now = timezone.now()
    is_news = found.exclude(leaked_at__gt=now - NO_NEWS).exists()
    if key.is_revoked or not (is_news or is_ended):
        return
    found.update(leaked_at=now)
    key.leaked_at = now
    key.save(update_fields=["leaked_at"])
    record(
        "key.leaked",
        by=by,
        target=key,
        organization=key.organization,
        label=label_of(key),
        after={"found_at": place, "revoked": is_ended, "way": str(way)},
    )
    key_leaked.send(sender=ApiKey, key=key, by=by)
    if is_ended:
        revoke_key(key=key, by=None)
    for person in concerned_with(key):
        notify(
            recipient=person,
            kind=REVOKED if is_ended else FLAGGED,
            object_id=key.public_id,
            title=key.name,
            detail=place,
            url=reverse("apikeys:detail", args=[key.public_id]),
        )


def revokes_leaked(key: ApiKey) -> bool:
    """Whether the key ends at once when it is found. A person's own does."""
    return key.organization is None or KeyPolicy.objects.of(key.organization).revokes_leaked


def concerned_with(key: ApiKey) -> list[User]:
    """Who is told: owners and admins of the organization, and whose key it is."""
    people = {key.owner, key.created_by}
    if key.organization is not None:
        places = Membership.objects.filter(organization=key.organization, role__in=[Role.OWNER, Role.ADMIN])
        people |= {place.user for place in places.select_related("user")}
    return sorted((person for person in people if person is not None), key=lambda person: person.pk)


def without_keys(text: str) -> str:
    """`text` with every key of ours taken out."""
    for secret in find_keys(text):
        text = text.replace(secret, "…")
    return text


def revocable(user: User, keys: Iterable[ApiKey]) -> list[ApiKey]:
    """Those of the keys that the user may revoke."""
    return [key for key in keys if may_change(user, key, _rights_to(user, key))]


def _rights_to(user: User, key: ApiKey) -> Rights:
    return rights_in(user, key.project) if key.project else NONE


def refusal(user: User, keys: list[ApiKey]) -> str:
    """Why text that shows these live keys is not published. Whose they are is said only to who may know."""
    if not revocable(user, keys):
        return gettext(
            "This text contains an API key that works. Take it out first. If the key is not yours, report it under "
            "“I found a key”: its owner is told."
        )
    names = ", ".join(f"“{key.name}” ({key.hint})" for key in keys if may_see(user, key, _rights_to(user, key)))
    return gettext(
        "This text contains an API key that works: %(keys)s. Take it out, or revoke the key first. If you showed it "
        "anywhere else, revoke it."
    ) % {"keys": names}


@dataclass(frozen=True, slots=True)
class Found:
    """The latest report of a key, for those who may see the key. `place` is in the words of a stranger."""

    at: datetime
    place: str
    by: str
    is_replaced: bool


def found(key: ApiKey) -> Found | None:
    """Where and when a key was found and who said so; None when nobody has. The audit log may have forgotten the place.

    It is replaced when every secret of it that was found has ended.
    """
    if key.leaked_at is None:
        return None
    event = AuditEvent.objects.filter(target_id=key.public_id, action="key.leaked").order_by("-at").first()
    is_replaced = not KeySecret.objects.leaked().filter(key=key).exists()
    if event is None:
        return Found(at=key.leaked_at, place="", by="", is_replaced=is_replaced)
    [entry] = entries([event])
    way = event.after.get("way")
    by = str(Way(way).label) if not event.actor and way in Way.values else entry.by
    return Found(at=key.leaked_at, place=event.after["found_at"], by=by, is_replaced=is_replaced)

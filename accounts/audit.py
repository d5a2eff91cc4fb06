"""The audit log: every act that matters to security, as a row that is only ever inserted.

The row names people by a token. What the token stands for is kept apart and goes when the person is erased, and so does
where a request came from: the log keeps its order and its meaning, and forgets people.
"""

from collections.abc import Mapping
from typing import Any

from django.db import models, transaction

from accounts.models import AuditEvent, AuditOrigin, AuditPerson, Organization, User
from common.context import current_origin, current_request_id


@transaction.atomic
def record(
    action: str,
    *,
    by: User | None,
    target: models.Model | None,
    organization: Organization | None = None,
    label: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add an act to the log, inside the transaction that makes it true.

    `action` is `thing.verb` in the past (`key.created`). `by` None means the portal itself. `target` is what was acted
    on: a user, or anything with a `public_id`; None for somebody unknown. `label` is its name at that moment, for a
    thing but never for a person. `before` and `after` hold what changed, JSON values only; a secret, a name or an
    address of a person belongs in neither: put `person_token(user)`.
    """
    if isinstance(target, User):
        target_id, label = person_token(target), ""
    else:
        target_id = str(getattr(target, "public_id", target.pk)) if target else ""
    event = AuditEvent.objects.create(
        action=action,
        actor=person_token(by) if by else "",
        organization_id=organization.public_id if organization else "",
        target_kind=(target or User())._meta.model_name or "",
        target_id=target_id,
        target_label=label[:200],
        before=dict(before or {}),
        after=dict(after or {}),
        request_id=current_request_id.get(),
    )
    origin = current_origin.get()
    # Who acts, or tries to be somebody. Who only tells us something, such as where a key was found, owes no address.
    if origin.address and (by is not None or target is None or isinstance(target, User)):
        AuditOrigin.objects.create(
            event_id=event.pk, person=event.actor or target_id, address=origin.address, user_agent=origin.user_agent
        )


def person_token(user: User) -> str:
    """What stands for the user in the log."""
    person, _made = AuditPerson.objects.get_or_create(user=user)
    return person.token


@transaction.atomic
def forget_person(user: User) -> None:
    """Take from the log who the user was and where they came from; what was done stays, by "someone who was erased"."""
    for person in AuditPerson.objects.filter(user=user):
        AuditOrigin.objects.filter(person=person.token).delete()
        person.user = None
        person.save(update_fields=["user"])

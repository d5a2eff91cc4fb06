"""Reading the audit log: which rows are asked for, and what they say to people."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, TypeGuard

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.auditing.actions import in_words, is_by_strangers
from accounts.auditing.finding import people_called, things_called
from accounts.models import AuditEvent, AuditOrigin, AuditPerson, Organization, User

CHUNK = 1000
FIRST_DAY = date(1970, 1, 1)
LAST_DAY = date(9000, 1, 1)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which events. An empty text and None ask for all."""

    action: str = ""
    by: str = ""
    target: str = ""
    since: date | None = None
    until: date | None = None


def events(*, organization: Organization | None, asked: Asked) -> "QuerySet[AuditEvent]":
    """The events of the organization, or of all when None. Days are the reader's."""
    found = AuditEvent.objects.all()
    if organization is not None:
        found = found.filter(organization_id=organization.public_id)
    if asked.action:
        found = found.filter(action=asked.action)
    if asked.by:
        found = found.filter(actor__in=people_called(asked.by, organization))
    if asked.target:
        people = Q(target_kind="user", target_id__in=people_called(asked.target, organization))
        label = Q(target_id=asked.target) | Q(target_label__icontains=asked.target)
        found = found.filter(label | people | things_called(asked.target, organization))
    if asked.since:
        found = found.filter(at__gte=_midnight(_near(asked.since)))
    if asked.until:
        found = found.filter(at__lt=_midnight(_near(asked.until) + timedelta(days=1)))
    return found


def _near(day: date) -> date:
    """The day, within what can be counted and be moved to any time zone; no event is from beyond."""
    return min(max(day, FIRST_DAY), LAST_DAY)


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


@dataclass(frozen=True, slots=True)
class Person:
    """Who a token stands for. `user` is None for one who has been erased."""

    token: str
    user: User | None

    @property
    def name(self) -> str:
        return self.user.display_name if self.user else _("someone who has been erased")


@dataclass(frozen=True, slots=True)
class Change:
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An event with what its row leaves out."""

    event: AuditEvent
    actor: Person | None
    target: Person | None
    organization: str
    origin: AuditOrigin | None
    changes: list[Change]

    @property
    def by(self) -> str:
        if self.actor:
            return self.actor.name
        return _("Somebody not signed in") if is_by_strangers(self.event.action) else _("The portal itself")

    @property
    def target_name(self) -> str:
        if self.target:
            return self.target.name
        label = self.event.target_label
        return _("“%(name)s”") % {"name": label} if label else self.event.target_id

    @property
    def words(self) -> str:
        return in_words(self.event.action, target=self.target_name)


def entries(rows: Sequence[AuditEvent]) -> list[Entry]:
    """The rows for reading, in three queries however many they are."""
    tokens = {token for row in rows for token in _tokens_in(row)}
    people = {
        person.token: Person(person.token, person.user)
        for person in AuditPerson.objects.filter(token__in=tokens).select_related("user")
    }
    origins = AuditOrigin.objects.in_bulk([row.pk for row in rows])
    organizations = dict(
        Organization.objects.filter(public_id__in={row.organization_id for row in rows}).values_list(
            "public_id", "name"
        )
    )
    return [
        Entry(
            event=row,
            actor=people.get(row.actor, Person(row.actor, None)) if row.actor else None,
            target=people.get(row.target_id, Person(row.target_id, None)) if _is_person(row.target_id) else None,
            organization=organizations.get(row.organization_id, row.organization_id),
            origin=origins.get(row.pk),
            changes=_changes(row, people),
        )
        for row in rows
    ]


def _is_person(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.startswith("person_")


def _tokens_in(row: AuditEvent) -> Iterator[str]:
    for value in (row.actor, row.target_id, *row.before.values(), *row.after.values()):
        if _is_person(value):
            yield value


def _changes(row: AuditEvent, people: dict[str, Person]) -> list[Change]:
    def said(values: dict[str, Any], field: str) -> str:
        value = values.get(field)
        if _is_person(value):
            return people.get(value, Person(value, None)).name
        if isinstance(value, str):
            return value
        return "" if value is None else json.dumps(value, ensure_ascii=False)

    fields = dict.fromkeys([*row.before, *row.after])
    return [Change(field, said(row.before, field), said(row.after, field)) for field in fields]


def chunks(found: "QuerySet[AuditEvent]") -> Iterator[list[Entry]]:
    """Everything, newest first, in portions: no query is open and nothing is held while a reader is slow."""
    ordered = found.order_by("-at", "-pk")
    rows = list(ordered[:CHUNK])
    while rows:
        yield entries(rows)
        last = rows[-1]
        rows = list(ordered.filter(Q(at__lte=last.at) & (Q(at__lt=last.at) | Q(pk__lt=last.pk)))[:CHUNK])


def record_of(entry: Entry) -> dict[str, Any]:
    """The event for programs: in a file and in the REST API. Names of people are left to pages."""
    event, origin = entry.event, entry.origin
    return {
        "id": str(event.pk),
        "at": event.at.isoformat(),
        "action": event.action,
        "by": event.actor or None,
        "by_user": entry.actor.user.public_id if entry.actor and entry.actor.user else None,
        "organization": event.organization_id or None,
        "target_kind": event.target_kind,
        "target": event.target_id,
        "target_name": event.target_label,
        "before": event.before,
        "after": event.after,
        "address": origin.address if origin else None,
        "user_agent": origin.user_agent if origin else None,
        "request_id": event.request_id,
    }


def records(found: "QuerySet[AuditEvent]") -> Iterable[list[dict[str, Any]]]:
    for chunk in chunks(found):
        yield [record_of(entry) for entry in chunk]

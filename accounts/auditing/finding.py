"""What in the audit log bears a name: higher apps say how theirs is found, in `AppConfig.ready()`."""

from collections.abc import Callable
from typing import Any

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Concat, Right

from accounts.models import AuditPerson, Organization, ServiceAccount
from accounts.models.people import shown_name

Ids = QuerySet[Any, str]
Finder = Callable[[str, Organization | None], Ids]

_finders: list[Finder] = []


def register(finder: Finder) -> None:
    """`finder` gives the public ids of what is called by a text; of the organization's alone, unless it is None."""
    _finders.append(finder)


def people_called(text: str, organization: Organization | None) -> Ids:
    """What stands for the people whom `text` may mean: a token, the id of a user, a part of a name or of an address.

    To an organization the addresses of its members are known, and nobody else's: from whether a guess finds something
    one could learn them.
    """
    names = Q(token=text) | Q(user__public_id=text) | Q(user__name__icontains=text)
    # Who gave no name is shown by one that is made of their id, in the language of the reader.
    before, after = shown_name("", "*").split("*")
    made = Concat(Value(before), Right("user__public_id", 6), Value(after))
    names |= Q(user__name="", made_name__icontains=text)
    addresses = Q(user__email__icontains=text)
    if organization is not None:
        addresses &= Q(user__in=organization.members.all())
    return AuditPerson.objects.annotate(made_name=made).filter(names | addresses).values_list("token", flat=True)


def things_called(text: str, organization: Organization | None) -> Q:
    """The condition on events about what is called so now, whatever it was called then."""
    condition = Q()
    for finder in _finders:
        condition |= Q(target_id__in=finder(text, organization))
    return condition


def service_accounts_called(text: str, organization: Organization | None) -> Ids:
    found = ServiceAccount.objects.filter(name__icontains=text)
    if organization is not None:
        found = found.filter(project__organization=organization)
    return found.values_list("public_id", flat=True)

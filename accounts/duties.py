"""What a person has to do before anything else, for pages and for management keys alike."""

from functools import cache

from django.db.models import Exists, OuterRef, QuerySet

from accounts.models import TermsVersion, User
from accounts.second_factor import is_required_of_staff, organizations_requiring, second_factors_of


def page_before(user: User) -> str | None:
    """The page that comes before all others for this user now, found with one query."""
    asked, has_factor, owes_terms = _duties().get(pk=user.pk)
    if (asked or is_required_of_staff(user)) and not has_factor:
        return "accounts:second_factor"
    return "accounts:terms" if owes_terms else None


@cache
def _duties() -> QuerySet[User, tuple[bool, bool, bool]]:
    """Of every user: asked for a second factor, has one, owes the terms. Built once: each request of a person asks it,
    and would spend three times as long on building it.
    """
    person = OuterRef("pk")
    return User.objects.values_list(
        Exists(organizations_requiring(person)),
        Exists(second_factors_of(person)),
        Exists(TermsVersion.objects.owed_by(OuterRef(person))),
    )

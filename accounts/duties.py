"""What a person has to do before anything else, for pages and for management keys alike."""

from django.db.models import Exists

from accounts.models import TermsVersion, User
from accounts.second_factor import is_required_of_staff, organizations_requiring, second_factors_of


def page_before(user: User) -> str | None:
    """The page that comes before all others for this user now, found with one query."""
    asked, has_factor, owes_terms = (
        User.objects.filter(pk=user.pk)
        .values_list(
            Exists(organizations_requiring(user)),
            Exists(second_factors_of(user)),
            Exists(TermsVersion.objects.owed_by(user)),
        )
        .get()
    )
    if (asked or is_required_of_staff(user)) and not has_factor:
        return "accounts:second_factor"
    return "accounts:terms" if owes_terms else None

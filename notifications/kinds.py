"""What people are told of their accounts, which know no notifications."""

from django.utils.translation import gettext_lazy as _

from notifications.registry import Kind

OWNER_MADE = Kind(
    name="accounts.owner_made",
    group="accounts.owner_made",
    one=_("%(actor)s made you an owner of the organization “%(title)s”"),
)

"""What moderators' acts are called in the audit log."""

from django.utils.translation import gettext_lazy as _

from accounts.auditing.actions import Words

ACTIONS: dict[str, Words] = {
    "post.hidden": _("hid the post %(target)s"),
    "post.restored": _("restored the post %(target)s"),
    "post.locked": _("locked the post %(target)s"),
    "post.unlocked": _("unlocked the post %(target)s"),
    "post.flags_dismissed": _("let the flagged post %(target)s stand"),
}

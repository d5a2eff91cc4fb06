"""The notifications that moderation sends."""

from django.utils.translation import gettext_lazy as _

from notifications.registry import Kind

KINDS = [
    Kind(
        name="community.hidden",
        group="community.state",
        one=_("A moderator hid your post in “%(title)s”"),
    ),
    Kind(
        name="community.restored",
        group="community.state",
        one=_("Your post in “%(title)s” is visible again"),
    ),
    Kind(
        name="community.locked",
        group="community.lock",
        one=_("A moderator locked your post in “%(title)s”"),
    ),
    Kind(
        name="community.unlocked",
        group="community.lock",
        one=_("Your post in “%(title)s” is unlocked again"),
    ),
    Kind(
        name="community.flag_upheld",
        group="community.flag",
        one=_("A moderator hid the post you flagged in “%(title)s”. Thank you"),
    ),
    Kind(
        name="community.flag_dismissed",
        group="community.flag",
        one=_("A moderator looked at the post you flagged in “%(title)s” and let it stand"),
    ),
    Kind(
        name="community.flag_reopened",
        group="community.flag",
        one=_("Your flag on the post in “%(title)s” is open again: what a moderator decided was undone"),
    ),
    Kind(
        name="community.suspended",
        group="community.suspension",
        one=_("Your account is suspended: you can read, but not write. Your API keys go on working"),
    ),
    Kind(
        name="community.readmitted",
        group="community.suspension",
        one=_("Your suspension is lifted: you can write again"),
    ),
]

"""The notifications that moderation sends."""

from django.utils.translation import gettext_lazy as _

from notifications.registry import Kind

KINDS = [
    Kind(
        name="community.hidden",
        group="community.state",
        one=_("A moderator hid your post in “%(title)s”"),
        many=_("Moderators looked at your post in “%(title)s” %(count)s times"),
    ),
    Kind(
        name="community.restored",
        group="community.state",
        one=_("Your post in “%(title)s” is visible again"),
        many=_("Moderators looked at your post in “%(title)s” %(count)s times"),
    ),
    Kind(
        name="community.locked",
        group="community.lock",
        one=_("A moderator locked your post in “%(title)s”"),
        many=_("Moderators locked and unlocked your post in “%(title)s” %(count)s times"),
    ),
    Kind(
        name="community.unlocked",
        group="community.lock",
        one=_("Your post in “%(title)s” is unlocked again"),
        many=_("Moderators locked and unlocked your post in “%(title)s” %(count)s times"),
    ),
    Kind(
        name="community.flag_upheld",
        group="community.flag",
        one=_("A moderator hid the post you flagged in “%(title)s”. Thank you"),
        many=_("Moderators looked at the post you flagged in “%(title)s” %(count)s times"),
    ),
    Kind(
        name="community.flag_dismissed",
        group="community.flag",
        one=_("A moderator looked at the post you flagged in “%(title)s” and let it stand"),
        many=_("Moderators looked at the post you flagged in “%(title)s” %(count)s times"),
    ),
    Kind(
        name="community.suspended",
        group="community.suspension",
        one=_("Your account is suspended: you can read, but not write. Your API keys go on working"),
        many=_("Your suspension changed %(count)s times"),
    ),
    Kind(
        name="community.readmitted",
        group="community.suspension",
        one=_("Your suspension is lifted: you can write again"),
        many=_("Your suspension changed %(count)s times"),
    ),
]

"""The notifications that the forum sends."""

from django.utils.translation import gettext_lazy as _

from notifications.registry import Kind

KINDS = [
    Kind(
        name="forum.answer",
        group="forum.thread",
        one=_("%(actor)s answered “%(title)s”"),
        many=_("%(count)s new answers and comments in “%(title)s”"),
    ),
    Kind(
        name="forum.comment",
        group="forum.thread",
        one=_("%(actor)s commented on your post in “%(title)s”"),
        many=_("%(count)s new answers and comments in “%(title)s”"),
    ),
    Kind(
        name="forum.accepted",
        group="forum.accepted",
        one=_("%(actor)s accepted your answer to “%(title)s”"),
        many=_("Your answer to “%(title)s” was accepted"),
    ),
]

"""A session in words."""

import re

from allauth.usersessions.models import UserSession
from django import template
from django.utils.translation import gettext

from accounts import sessions

register = template.Library()

# The first that fits: most browsers name others that they wish to be taken for.
_BROWSERS = (
    (r"Edg(e|A|iOS)?/", "Edge"),
    (r"OPR/|Opera", "Opera"),
    (r"Firefox/|FxiOS/", "Firefox"),
    (r"Chrom(e|ium)/|CriOS/", "Chrome"),
    (r"Safari/", "Safari"),
)
_SYSTEMS = (
    (r"Windows", "Windows"),
    (r"iPhone|iPad", "iOS"),
    (r"Mac OS X|Macintosh", "macOS"),
    (r"Android", "Android"),
    (r"Linux|X11", "Linux"),
)


@register.filter
def device(user_agent: str) -> str:
    """ "Firefox on Linux", or the beginning of what the program says of itself."""
    browser, system = (_first(names, user_agent) for names in (_BROWSERS, _SYSTEMS))
    if browser and system:
        return gettext("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system or user_agent[:40] or gettext("Unknown program")


@register.filter
def handle(session: UserSession) -> str:
    return sessions.handle_of(session)


def _first(names: tuple[tuple[str, str], ...], user_agent: str) -> str:
    return next((name for pattern, name in names if re.search(pattern, user_agent)), "")

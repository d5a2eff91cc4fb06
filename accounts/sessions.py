"""Where a person is signed in."""

import re
import time
from collections.abc import Callable, Iterable

from allauth.usersessions.models import UserSession
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext

from accounts.models import User

SEEN = "seen"
SEEN_SECONDS = 300
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


class LastSeenMiddleware:
    """Notes from where and when a session was last used, at most once in five minutes."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated and time.time() - request.session.get(SEEN, 0) > SEEN_SECONDS:
            UserSession.objects.create_from_request(request)
            mark_seen(request)
        return self.get_response(request)


def mark_seen(request: HttpRequest) -> None:
    request.session[SEEN] = int(time.time())


def handle_of(session: UserSession) -> str:
    """What names a session in an address; its key would let a reader take it over."""
    return salted_hmac("accounts.sessions", session.session_key, algorithm="sha256").hexdigest()[:32]


def session_for(user: User, handle: str) -> UserSession:
    """A session of the user's own. Raises Http404 for any other."""
    for session in UserSession.objects.filter(user=user):
        if handle_of(session) == handle:
            return session
    raise Http404


def device_of(user_agent: str) -> str:
    """ "Firefox on Linux", or the beginning of what the program says of itself."""
    browser, system = (_first(names, user_agent) for names in (_BROWSERS, _SYSTEMS))
    if browser and system:
        return gettext("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system or user_agent[:40] or gettext("Unknown program")


def matching(sessions: Iterable[UserSession], text: str) -> list[UserSession]:
    """Those whose device, in the words of the page, or whose IP address holds `text`."""
    text = text.casefold()
    return [one for one in sessions if text in device_of(one.user_agent).casefold() or text in one.ip]


def _first(names: tuple[tuple[str, str], ...], user_agent: str) -> str:
    return next((name for pattern, name in names if re.search(pattern, user_agent)), "")

"""Where a person is signed in."""

import time
from collections.abc import Callable

from allauth.usersessions.models import UserSession
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac

from accounts.models import User

SEEN = "seen"
SEEN_SECONDS = 300


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

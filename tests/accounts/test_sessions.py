"""Where a person is signed in, and ending that."""

import time

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, User
from accounts.sessions import SEEN, SEEN_SECONDS, handle_of
from tests.conftest import PASSWORD

URL = "/accounts/sessions/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def sign_in(user: User, *, address: str = "192.0.2.7", agent: str = FIREFOX) -> Client:
    client = Client(REMOTE_ADDR=address, headers={"user-agent": agent})
    assert client.post("/accounts/login/", {"login": user.email, "password": PASSWORD}).status_code == 302
    return client


def is_signed_in(client: Client) -> bool:
    return client.get("/settings/").status_code == 200


def test_it_works(ada: User) -> None:
    page = sign_in(ada).get(URL).content.decode()
    assert "Firefox on Linux" in page
    assert "192.0.2.7" in page
    assert "This device" in page
    assert "Sign out everywhere else" not in page


def test_one_browser_is_signed_out(ada: User) -> None:
    laptop, phone = sign_in(ada), sign_in(ada, agent="Safari/604.1 (iPhone)")
    assert "Safari on iOS" in laptop.get(URL).content.decode()
    session = UserSession.objects.get(session_key=phone.session.session_key)
    assert session.session_key not in laptop.get(URL).content.decode()
    assert laptop.post(f"/settings/sessions/{handle_of(session)}/end/").headers["Location"] == URL
    assert is_signed_in(laptop)
    assert not is_signed_in(phone)
    assert AuditEvent.objects.filter(action="session.ended").count() == 1


def test_they_are_searched_and_sorted(ada: User) -> None:
    clients = {
        "laptop": sign_in(ada, agent="Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) Version/18.0 Safari/605.1.15"),
        "phone": sign_in(ada, address="198.51.100.1", agent="Safari/604.1 (iPhone)"),
        "desktop": sign_in(ada),
    }
    names = {client.session.session_key: name for name, client in clients.items()}
    seen = UserSession.objects.get(session_key=clients["phone"].session.session_key)
    UserSession.objects.filter(pk=seen.pk).update(last_seen_at=timezone.now())

    def shown(**query: str) -> list[str]:
        rows = clients["laptop"].get(URL, query).context["page"].items
        return [names[session.session_key] for session in rows]

    assert shown() == ["phone", "desktop", "laptop"]
    assert shown(sort="newest") == ["desktop", "phone", "laptop"]
    # By the words that are shown, which the browser itself does not say.
    assert shown(q="MACOS") == ["laptop"]
    assert shown(q="198.51") == ["phone"]
    nothing = clients["laptop"].get(URL, {"q": "Windows"}).content.decode()
    assert "No session found" in nothing
    # What is not shown is signed out all the same.
    assert "Sign out everywhere else" in nothing


def test_everywhere_else_is_signed_out(ada: User) -> None:
    laptop, phone, lost = sign_in(ada), sign_in(ada), sign_in(ada)
    assert "You are signed out everywhere else." in laptop.post(URL, follow=True).content.decode()
    assert [is_signed_in(client) for client in (laptop, phone, lost)] == [True, False, False]


def test_a_changed_password_ends_the_other_sessions(ada: User) -> None:
    EmailAddress.objects.create(user=ada, email=ada.email, verified=True, primary=True)
    laptop, phone = sign_in(ada), sign_in(ada)
    new = "an even longer password"
    laptop.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert is_signed_in(laptop)
    assert not is_signed_in(phone)
    assert laptop.get(URL).context["session_count"] == 1


def test_a_session_of_somebody_else_is_not_found(ada: User, cyd_client: Client) -> None:
    adas = sign_in(ada)
    session = UserSession.objects.get(session_key=adas.session.session_key)
    assert cyd_client.post(f"/settings/sessions/{handle_of(session)}/end/").status_code == 404
    assert is_signed_in(adas)


def test_it_is_seen_again_after_five_minutes_only(ada: User) -> None:
    client = sign_in(ada, address="192.0.2.7")
    client.get("/settings/", REMOTE_ADDR="198.51.100.1")
    assert UserSession.objects.get().ip == "192.0.2.7"
    session = client.session
    session[SEEN] = time.time() - SEEN_SECONDS - 1
    session.save()
    client.get("/settings/", REMOTE_ADDR="198.51.100.1")
    assert UserSession.objects.get().ip == "198.51.100.1"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) Version/18.0 Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.14.1", "curl/8.14.1"),
        ("", "Unknown program"),
    ],
)
def test_a_browser_is_named(agent: str, words: str) -> None:
    from accounts.templatetags.devices import device

    assert device(agent) == words

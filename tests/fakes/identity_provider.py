"""An OpenID Connect provider that is no fake at all: allauth's own, a Django site of its own in a process of its own.

`python -m tests.fakes.identity_provider PORT DATABASE` serves it; tests use `IdentityProvider`.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

CLIENT_ID = "the-portal"
CLIENT_SECRET = "a-secret-of-the-portal-at-the-provider"
PASSWORD = "a password at the provider"
CALLBACK = "http://testserver/accounts/oidc/oidc/login/callback/"
# Each with whether the provider has verified the address.
PEOPLE = {
    "grace@uni.example": True,
    "rosa@uni.example": True,
    "eve@elsewhere.example": True,
    "mallory@uni.example": False,
}


@dataclass(frozen=True)
class IdentityProvider:
    """A running provider."""

    url: str

    def approve(self, address: str, authorize_url: str) -> str:
        """Sign in at the provider as a browser would, and give the address it sends the browser back to."""
        browser = requests.Session()
        page = browser.get(f"{self.url}/accounts/login/", timeout=10)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        signed_in = browser.post(
            page.url,
            data={"login": address, "password": PASSWORD, "csrfmiddlewaretoken": token[1]},
            allow_redirects=False,
            timeout=10,
        )
        assert signed_in.status_code == 302, signed_in.text
        answer = browser.get(authorize_url, allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]


@contextmanager
def identity_provider(folder: Path) -> Iterator[IdentityProvider]:
    """A provider for as long as the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.identity_provider", str(port), str(folder / "provider.sqlite3")],
        env=environment,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                requests.get(f"{url}/.well-known/openid-configuration", timeout=5).raise_for_status()
                break
            except requests.RequestException:
                assert process.poll() is None, "the provider ended"
                assert time.monotonic() < deadline, "the provider does not answer"
                time.sleep(0.05)
        yield IdentityProvider(url)
    finally:
        process.terminate()
        process.wait(10)


def serve(port: int, database: str) -> None:
    """Be the provider."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from django.conf import settings

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    settings.configure(
        SECRET_KEY="a-secret-key-of-a-provider-that-protects-nothing",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF="tests.fakes.identity_provider_urls",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "allauth",
            "allauth.account",
            "allauth.idp.oidc",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "allauth.account.middleware.AccountMiddleware",
        ],
        AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                    ]
                },
            }
        ],
        USE_TZ=True,
        ACCOUNT_LOGIN_METHODS={"email"},
        ACCOUNT_EMAIL_VERIFICATION="none",
        ACCOUNT_RATE_LIMITS=False,
        IDP_OIDC_PRIVATE_KEY=pem,
        # The portal's cookies are no business of the provider's.
        SESSION_COOKIE_NAME="provider_session",
    )
    import django

    django.setup()
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from allauth.account.models import EmailAddress
    from allauth.idp.oidc.models import Client
    from django.contrib.auth import get_user_model
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    for address, verified in PEOPLE.items():
        user = get_user_model().objects.create_user(address.split("@")[0], address, PASSWORD)  # type: ignore[call-arg]
        EmailAddress.objects.create(user=user, email=address, verified=verified, primary=True)
    client = Client(
        id=CLIENT_ID, name="Portal", skip_consent=True, scopes="openid\nprofile\nemail", redirect_uris=CALLBACK
    )
    client.set_secret(CLIENT_SECRET)
    client.save()

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
            """Nothing: tests read their own output."""

    make_server("127.0.0.1", port, WSGIHandler(), handler_class=Quiet).serve_forever()


def portal_settings(url: str) -> dict[str, object]:
    """What the portal is told about the provider."""
    app = {
        "provider_id": "oidc",
        "name": "University",
        "client_id": CLIENT_ID,
        "secret": CLIENT_SECRET,
        "settings": {"server_url": url},
    }
    return {"openid_connect": {"APPS": [app]}}


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])

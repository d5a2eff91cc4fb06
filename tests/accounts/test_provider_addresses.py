"""The addresses of GitHub and Google are the operator's to set."""

import os
import subprocess
import sys

from portal.env import BASE_DIR

PRINT = """
import django
django.setup()
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter as github
from allauth.socialaccount.providers.google.views import GoogleOAuth2Adapter as google
print(github.authorize_url, github.profile_url, google.authorize_url, google.access_token_url)
"""


def addresses(**environment: str) -> list[str]:
    """Those that a portal in this environment uses; allauth reads them once, when it is imported."""
    given = {"DJANGO_SETTINGS_MODULE": "tests.settings", "GITHUB_CLIENT_ID": "a", "GOOGLE_CLIENT_ID": "b"}
    done = subprocess.run(
        [sys.executable, "-c", PRINT],
        cwd=BASE_DIR,
        env={**os.environ, **given, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_it_works() -> None:
    assert addresses(
        GITHUB_URL="https://github.uni.example/",
        GOOGLE_AUTHORIZE_URL="https://google.uni.example/auth",
        GOOGLE_TOKEN_URL="https://google.uni.example/token",
    ) == [
        "https://github.uni.example/login/oauth/authorize",
        "https://github.uni.example/api/v3/user",
        "https://google.uni.example/auth",
        "https://google.uni.example/token",
    ]


def test_without_them_they_are_those_of_the_world() -> None:
    github, profile, google, token = addresses()
    assert github == "https://github.com/login/oauth/authorize"
    assert profile == "https://api.github.com/user"
    assert google.startswith("https://accounts.google.com/")
    assert token.startswith("https://oauth2.googleapis.com/")

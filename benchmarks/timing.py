"""What a clock tells a stranger: whether an address has an account, and how near a guess is to a key."""

import asyncio
import random
import statistics
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from allauth.account.models import EmailAddress
from django.conf import settings
from django.test import Client
from starlette.datastructures import Headers

from accounts.models import Invitation, User
from accounts.services import open_workspace
from apikeys.services import mint_key, revoke_key
from apikeys.verification import CHECKSUM_LENGTH, digests_of, new_secret
from common import redis as servers
from common.errors import IncorrectKeyError
from common.ids import base62
from gateway.authentication import authenticate
from usage.link import RedisLink
from usage.policies import Policies, redis_key

SAMPLES = 500
WARM_UP = 20
PASSWORD = "a long enough password"
# As in production, but for the hash of passwords: it takes a hundred times as long as all the rest, and what is asked
# is whether the rest differs. That both sides hash as often is tested.
AS_IN_PRODUCTION = {
    "ALLOWED_HOSTS": ["*"],
    "ACCOUNT_EMAIL_VERIFICATION": "mandatory",
    "ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED": True,
    "EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend",
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
}


@dataclass(frozen=True)
class Sides:
    """Milliseconds of two kinds of requests, which took turns."""

    one: list[float]
    other: list[float]

    def figures(self) -> dict[str, float]:
        """Both medians, and how often a random one of the first is slower than a random one of the second."""
        slower = sum((a > b) + (a == b) / 2 for a in self.one for b in self.other)
        return {
            "one": statistics.median(self.one),
            "other": statistics.median(self.other),
            "rank": slower / (len(self.one) * len(self.other)),
        }


def main() -> None:
    """Print the section of the page."""
    for name, value in AS_IN_PRODUCTION.items():
        setattr(settings, name, value)
    known = [_user(f"known{number}@example.com") for number in range(SAMPLES + WARM_UP)]
    pages = {
        "sign-up": _page(
            "/accounts/signup/", lambda email: {"email": email, "password1": PASSWORD, "password2": PASSWORD}
        ),
        "sign-in": _page("/accounts/login/", lambda email: {"login": email, "password": "a wrong guess"}),
        "reset of a password": _page("/accounts/password/reset/", lambda email: {"email": email}),
        "invitation": _invitation(),
    }
    sides = {name: _of_page(name, ask, [user.email for user in known]) for name, ask in pages.items()}
    keys = asyncio.run(_of_keys(*_keys()))
    requests = {name: found.figures() for name, found in {**sides, **keys}.items()}
    print(section(requests))


def section(requests: dict[str, dict[str, float]]) -> str:
    """What the report says about what a clock tells."""
    lines = "\n".join(
        f"| {name} | {found['one']:.2f} | {found['other']:.2f} | {abs(found['one'] - found['other']):.2f} "
        f"| {found['rank']:.2f} |"
        for name, found in requests.items()
    )
    return f"""Medians in milliseconds of {SAMPLES} requests of each kind in turns, by one who measures on this machine
itself: on pages for an address that has an account and for one that has none; at `/v1` for a guess that is near to
something, and for a random one with a right checksum. The rank is how often a request of the first kind is slower than
one of the second: 0.5 tells nothing, 0 and 1 tell everything. Passwords have a quick hash here, so that its noise hides
nothing; tests hold that it is made as often either way.

| request | near | far | apart | rank |
| --- | ---: | ---: | ---: | ---: |
{lines}
"""


def _user(email: str) -> User:
    user = User.objects.create_user(email, PASSWORD, name="Grace")
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


def _page(path: str, form: Callable[[str], dict[str, str]]) -> Callable[[str, str], None]:
    def ask(email: str, address: str) -> None:
        assert Client(REMOTE_ADDR=address).post(path, form(email)).status_code in {200, 302}

    return ask


def _invitation() -> Callable[[str, str], None]:
    owner = _user("owner@example.com")
    project = open_workspace(user=owner)
    client = Client()
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    path = f"/organizations/{project.organization.public_id}/invitations/"

    def ask(email: str, address: str) -> None:
        assert client.post(path, {"emails": email, "role": "member"}, REMOTE_ADDR=address).status_code == 302

    return ask


def _of_page(name: str, ask: Callable[[str, str], None], known: list[str]) -> Sides:
    """A known account and an unknown one in turns, each from an IP address of its own: no limit is to be met."""
    sides = Sides([], [])
    for number, email in enumerate(known):
        turns = [(sides.one, email), (sides.other, f"{name.split()[0]}{number}@example.net")]
        random.shuffle(turns)
        for turn, (side, asked) in enumerate(turns):
            address = f"10.{turn}.{number // 250}.{number % 250}"
            started = time.perf_counter()
            ask(asked, address)
            if number >= WARM_UP:
                side.append((time.perf_counter() - started) * 1000)
            # Nobody may invite so many people in a day.
            Invitation.objects.all().delete()
    return sides


def _keys() -> tuple[list[str], list[str], list[str]]:
    """Guesses of three kinds, each right in its checksum: all but its last letters those of a key, random, revoked."""
    owner = _user("keys-owner@example.com")
    project = open_workspace(user=owner)
    near, revoked = [], []
    for number in range(SAMPLES + WARM_UP):
        payload = mint_key(project=project, name=f"key {number}", by=owner)[1][:-CHECKSUM_LENGTH]
        prefix, _underscore, rest = f"{payload[:-4]}zzzz".partition("_")
        near.append(f"{prefix}_{rest}{base62(zlib.crc32(rest.encode()), width=CHECKSUM_LENGTH)}")
        key, secret = mint_key(project=project, name=f"revoked {number}", by=owner)
        revoke_key(key=key, by=owner)
        revoked.append(secret)
    # They were revoked long ago: for some seconds there is a mark of it.
    servers.durable().delete(*(redis_key(digest) for secret in revoked for digest in digests_of(secret)))
    return near, [new_secret() for _ in range(SAMPLES + WARM_UP)], revoked


async def _of_keys(near: list[str], junk: list[str], revoked: list[str]) -> dict[str, Sides]:
    link = RedisLink()
    await link.start()
    policies = Policies(link)
    policies.start()
    # Until it hears of changes.
    await asyncio.sleep(3)
    taken: dict[str, list[float]] = {"near": [], "junk": [], "revoked": []}
    for number, guesses in enumerate(zip(near, junk, revoked, strict=True)):
        turns = list(zip(taken.values(), guesses, strict=True))
        random.shuffle(turns)
        for kind, guess in turns:
            headers = Headers({"authorization": f"Bearer {guess}"})
            started = time.perf_counter()
            with suppress(IncorrectKeyError):
                await authenticate(headers, policies, address="192.0.2.1")
                raise AssertionError("a guess was taken for a key")
            if number >= WARM_UP:
                kind.append((time.perf_counter() - started) * 1000)
    await policies.close()
    await link.close()
    return {
        "key, all but four letters right": Sides(taken["near"], taken["junk"]),
        "key, revoked": Sides(taken["revoked"], taken["junk"]),
    }

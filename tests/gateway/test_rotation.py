"""Secrets are rotated while everything goes on: nothing fails, and nothing needs the old ones at the end."""

import threading
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import openai
import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from cryptography.fernet import Fernet
from django.conf import LazySettings
from django.core.management import call_command
from django.db import connection, connections

from apikeys.models import KeySecret
from catalog import routing
from catalog.models import Backend
from tests.conftest import client_of
from tests.fakes.receiver import receiver
from tests.gateway.conftest import Stage, chat
from webhooks.delivery import deliver_due
from webhooks.models import Delivery, DeliveryState, Endpoint
from webhooks.services import create_endpoint, rotate_secret, send_test

ROUNDS = 3


@pytest.fixture
def endpoint(stage: Stage, settings: LazySettings) -> Iterator[Endpoint]:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    with receiver() as told:
        yield create_endpoint(
            organization=stage.project.organization, url=told.url, description="", event_types=[], by=stage.ada
        )[0]


def stored_tokens() -> list[str]:
    """Everything in the database that looks like something Fernet made, wherever it stands."""
    found: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND data_type IN ('text', 'jsonb', 'json', 'character varying', 'ARRAY')"
        )
        for table, column in cursor.fetchall():
            cursor.execute(
                f"""SELECT (regexp_matches("{column}"::text, 'gAAAA[A-Za-z0-9_=-]+', 'g'))[1] FROM "{table}" """  # noqa: S608
            )
            found += [token for (token,) in cursor.fetchall()]
    return found


class Traffic:
    """Pieces of work that repeat, each in a thread of its own, until they are stopped; the first failure is kept."""

    def __init__(self, *work: Callable[[], Any]) -> None:
        self._stop = threading.Event()
        self.failures: list[BaseException] = []
        self.rounds = [0] * len(work)
        self._threads = [threading.Thread(target=self._repeat, args=(place, piece)) for place, piece in enumerate(work)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def one_more_of_each(self) -> None:
        """Wait until each piece was begun and done again."""
        before = list(self.rounds)
        turn = threading.Event()
        while not self.failures and any(now < then + 2 for now, then in zip(self.rounds, before, strict=True)):
            turn.wait(0.005)

    def _repeat(self, place: int, piece: Callable[[], Any]) -> None:
        try:
            while not self._stop.is_set():
                piece()
                self.rounds[place] += 1
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            connections.close_all()


def rotate(*options: str) -> str:
    out = StringIO()
    call_command("rotate_secrets", *options, stdout=out)
    return out.getvalue()


def test_it_works(stage: Stage, client: openai.OpenAI, endpoint: Endpoint, settings: LazySettings) -> None:
    ada = stage.ada
    TOTP.activate(ada, "JBSWY3DPEHPK3PXP")
    RecoveryCodes.activate(ada)
    Backend.objects.create(
        name="gw-credential", base_url="http://127.0.0.1:1/v1", credential="sesame", is_enabled=False
    )
    web = client_of(ada)

    def call() -> None:
        client.chat.completions.create(model="fake-chat", messages=chat())

    def route() -> None:
        [found] = routing.load().models["fake-chat"].routes
        assert found.credential == "sesame"

    def deliver() -> None:
        rotate_secret(endpoint=Endpoint.objects.get(pk=endpoint.pk), by=ada)
        send_test(endpoint=endpoint)
        deliver_due()

    def set_credential() -> None:
        backend = Backend.objects.get(name="gw-credential")
        backend.credential = "open " + backend.credential[:20]
        backend.save()

    def use_factors() -> None:
        assert TOTP(Authenticator.objects.get(user=ada, type="totp")).validate_code("000000") is False
        codes = RecoveryCodes(Authenticator.objects.get(user=ada, type="recovery_codes"))
        codes.validate_code("00000000")
        codes.mark_as_viewed()

    def read_pages() -> None:
        assert web.get("/keys/").status_code == 200

    with Traffic(call, route, deliver, set_credential, use_factors, read_pages) as traffic:
        for number in range(ROUNDS):
            key, old = Fernet.generate_key().decode(), settings.FIELD_ENCRYPTION_KEYS[0]
            settings.FIELD_ENCRYPTION_KEYS = [old, key]
            settings.SECRET_KEY_FALLBACKS = [f"{number} to come".ljust(40, ".")]
            traffic.one_more_of_each()
            settings.FIELD_ENCRYPTION_KEYS = [key, old]
            settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = settings.SECRET_KEY_FALLBACKS[0], [settings.SECRET_KEY]
            settings.KEY_PEPPERS = [*settings.KEY_PEPPERS, f"{number + 2}:" + "a pepper of this round".ljust(32, ".")]
            traffic.one_more_of_each()
            assert "0 under an older key" in rotate()
            traffic.one_more_of_each()
            assert "All are under the first key" in rotate()
            settings.FIELD_ENCRYPTION_KEYS = [key]
            settings.SECRET_KEY_FALLBACKS = []
            traffic.one_more_of_each()
    assert traffic.failures == []
    assert set(Delivery.objects.values_list("state", flat=True)) == {DeliveryState.DELIVERED}

    newest = Fernet(settings.FIELD_ENCRYPTION_KEYS[0])
    tokens = stored_tokens()
    assert len(tokens) >= 6
    assert all(newest.decrypt(token) for token in tokens)
    assert KeySecret.objects.by_pepper()[1] >= 1

import json
import logging
import logging.config
from collections.abc import Iterator

import pytest
import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied

from apikeys.verification import KIND_PARTS, new_secret
from common.context import current_request_id
from portal.logs import logging_config, mask_secrets


@pytest.fixture(autouse=True)
def usual_logs() -> Iterator[None]:
    yield
    logging.config.dictConfig(settings.LOGGING)


def test_it_works(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(logging_config(level="INFO", style="json"))
    token = current_request_id.set("req_1")
    try:
        logging.getLogger("some.library").info("Hello %s", "there")
    finally:
        current_request_id.reset(token)
    line = json.loads(capsys.readouterr().err.strip())
    assert (line["event"], line["request_id"], line["logger"]) == ("Hello there", "req_1", "some.library")


def test_a_key_never_stands_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(logging_config(level="INFO", style="json"))
    secret = new_secret()
    try:
        raise ValueError(f"refused {secret}")
    except ValueError:
        logging.getLogger("some.library").exception("A call with %s failed", secret)
    printed = capsys.readouterr().err
    assert secret not in printed
    assert mask_secrets(secret) in printed


@pytest.mark.parametrize("style", ["json", "plain"])
def test_a_key_inside_of_what_is_logged_beside_the_line_is_masked_too(
    capsys: pytest.CaptureFixture[str], style: str
) -> None:
    logging.config.dictConfig(logging_config(level="INFO", style=style))
    secret = new_secret()
    structlog.get_logger("ours").warning(
        "it failed",
        headers={"authorization": [f"Bearer {secret}"], secret: 1},
        body=secret.encode(),
        why=OSError(secret),
    )
    printed = capsys.readouterr().err
    assert secret not in printed
    assert printed.count(mask_secrets(secret)) == 4


def test_a_refused_page_is_one_line_and_a_failure_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(logging_config(level="INFO", style="plain"))
    for error in (PermissionDenied(), ValueError("broken")):
        try:
            raise error
        except type(error) as caught:
            logging.getLogger("django.request").warning("%s: /keys/", type(error).__name__, exc_info=caught)
    refused, failed = capsys.readouterr().err.split("ValueError: /keys/")
    assert "PermissionDenied: /keys/" in refused
    assert "Traceback" not in refused
    assert "Traceback" in failed


@pytest.mark.parametrize("kind", KIND_PARTS)
def test_a_key_inside_a_longer_word_is_masked_too(kind: str) -> None:
    secret = new_secret(kind)
    for text in (f"my_{secret}", f"key={secret}_old", f"/{secret}/", f'"{secret}"'):
        assert secret not in mask_secrets(text)


@pytest.mark.parametrize(
    "line",
    [
        "Not Found: /setup/{}/",
        "Not Found: /accounts/confirm-email/{}/",
        "Internal Server Error: /accounts/password/reset/key/{}/",
        "/notifications/unsubscribe/{}/ said no",
        "/invitations/{}/ and /join/{}",
        "GET /stream/runs/run_1?ticket={}&after=1",
        'duplicate key value violates unique constraint "u"\nDETAIL:  Key (email)=({}) already exists.',
        "DETAIL:  Key (lower(email::text))=({}) already exists.",
    ],
)
def test_no_token_of_an_address_and_no_address_of_a_person_stands_in_a_log(line: str) -> None:
    secret = "arAxQg68tgRk:CJ@hysbU-L4k4vTGqUp"
    masked = mask_secrets(line.format(secret, secret))
    assert secret not in masked
    assert "…" in masked
    assert masked.startswith(line[:8])


def test_other_lines_stay_as_they_are() -> None:
    line = "Not Found: /settings/setup?key_name=x (Key found) https://example.com/a"
    assert mask_secrets(line) == line

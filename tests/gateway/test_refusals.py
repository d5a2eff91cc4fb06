"""Every refusal in OpenAI's shape: status, type, code, param and message as documented."""

import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import openai
import pytest
from django.conf import LazySettings
from django.utils import timezone

from accounts.models import TermsAcceptance
from accounts.services import accept_terms, publish_terms
from apikeys.models import ApiKey
from apikeys.services import change_key, revoke_key
from apikeys.verification import new_secret
from catalog.models import HostedModel
from gateway.asgi import LONG_SECONDS
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Stage, ask, chat, wait_for
from tests.gateway.test_connections import connected, head, status
from usage.ingest import drain
from usage.models import UsageEvent
from usage.problems import problem_in_words
from usage.refusals import MOST_REFUSALS_A_MINUTE

Mint = Callable[..., str]


def complete(url: str, secret: str, **body: Any) -> Any:
    return ask(url, "/chat/completions", secret=secret, body={"model": "fake-chat", "messages": chat(), **body})


def test_it_works(url: str, secret: str) -> None:
    assert complete(url, secret).status == 200


def test_no_key(url: str) -> None:
    reply = ask(url, "/chat/completions", body={})
    assert reply.status == 401
    assert reply.error["code"] is None
    assert reply.error["type"] == "invalid_request_error"


def test_a_malformed_key_and_an_unknown_one_are_told_alike_and_masked(url: str) -> None:
    for wrong in (new_secret(), "sk-" + "x" * 40, "clé", "x" * 5000):
        reply = ask(
            url, "/chat/completions", headers={"Authorization": f"Bearer {wrong}".encode().decode("latin-1")}, body={}
        )
        assert reply.status == 401
        assert reply.error["code"] == "invalid_api_key"
        assert wrong not in reply.body.decode()


def test_a_key_in_the_address_is_not_a_key(url: str, secret: str) -> None:
    assert ask(url, f"/models?api_key={secret}", method="GET").status == 401


def test_a_revoked_key_is_refused_within_a_second(url: str, mint: Callable[..., str], stage: Stage) -> None:
    delays = []
    for secret in [mint() for _number in range(5)]:
        assert complete(url, secret).status == 200
        revoke_key(key=ApiKey.objects.behind(secret).get(), by=stage.ada)
        delays.append(wait_for(lambda: complete(url, secret).status == 401))  # noqa: B023 - it is called in this round
    # A busy machine is no delay of the gateway's.
    assert median(delays) < 1


def test_a_key_revoked_while_its_call_comes_makes_none(
    url: str, secret: str, stage: Stage, fake: FakeInferenceServer
) -> None:
    body = json.dumps({"model": "fake-chat", "messages": chat()}).encode()
    asked = fake.ledger.requests
    with connected(url) as connection:
        connection.sendall(head(len(body), secret) + body[:20])
        # So long that its key was looked up.
        time.sleep(LONG_SECONDS)
        revoke_key(key=ApiKey.objects.behind(secret).get(), by=stage.ada)
        wait_for(lambda: ask(url, "/models", method="GET", secret=secret).status == 401)
        connection.sendall(body[20:])
        assert status(connection) == 401
    assert fake.ledger.requests == asked


def test_a_key_waits_until_the_terms_are_accepted(url: str, secret: str, stage: Stage) -> None:
    version = publish_terms(english="Be kind.", chinese="", in_force_at=timezone.now(), by=stage.ada)
    try:
        reply = complete(url, secret)
        assert (reply.status, reply.error["code"]) == (403, "terms_not_accepted")
        assert "/terms/" in reply.error["message"]
        accept_terms(version=version, by=stage.ada)
        wait_for(lambda: complete(url, secret).status == 200)
    finally:
        TermsAcceptance.objects.all().delete()
        version.delete()


def test_changed_limits_hold_within_a_second(url: str, secret: str, stage: Stage) -> None:
    assert complete(url, secret).status == 200
    key = ApiKey.objects.behind(secret).get()
    change_key(key=key, changes={"requests_per_minute": 7}, by=stage.ada)
    wait_for(lambda: complete(url, secret).headers["x-ratelimit-limit-requests"] == "7")


def test_a_key_refused_before_it_existed_works_once_it_does(url: str, mint: Mint) -> None:
    assert complete(url, new_secret()).status == 401
    assert complete(url, mint()).status == 200


def test_the_sdk_raises_its_own_errors(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nobody", messages=chat())
    assert missing.value.code == "model_not_found"
    assert missing.value.request_id is not None
    assert missing.value.request_id.startswith("req_")
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="fake-chat", messages=[])
    with (
        pytest.raises(openai.AuthenticationError),
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as other,
    ):
        other.models.list()


def test_an_unknown_model_comes_before_any_other_fault(url: str, secret: str) -> None:
    reply = ask(url, "/chat/completions", secret=secret, body={"model": "nobody", "messages": 7, "prompt_embeds": 1})
    assert reply.status == 404
    assert reply.error["code"] == "model_not_found"
    assert reply.error["message"] == "The model `nobody` does not exist or you do not have access to it."


@pytest.mark.parametrize(
    ("body", "recorded"),
    [
        ({"model": "nobody"}, ("", 404, "model_not_found")),
        ({"model": "fake-embed"}, ("fake-embed", 400, "unsupported_model")),
        ({"max_tokens": -1}, ("fake-chat", 400, "invalid_value")),
    ],
)
def test_a_refusal_is_in_the_usage_at_no_cost(
    url: str, secret: str, event_of: Callable[[str], UsageEvent], body: dict[str, Any], recorded: tuple[str, int, str]
) -> None:
    reply = complete(url, secret, **body)
    event = event_of(reply.headers["x-request-id"])
    assert (event.model, event.status, event.error_code) == recorded
    assert (event.prompt_tokens, event.completion_tokens, event.cost_nano, event.backend) == (0, 0, 0, "")


def test_a_flood_of_refusals_does_not_fill_the_ledger(url: str, mint: Mint) -> None:
    secret = mint()
    key = ApiKey.objects.behind(secret).get()
    for _number in range(2 * MOST_REFUSALS_A_MINUTE + 5):
        last = complete(url, secret, model="nobody")
    assert last.status == 404
    drain()
    # A minute may have ended meanwhile, and the next begun with a count of its own.
    assert 0 < UsageEvent.objects.filter(key_id=key.public_id).count() <= 2 * MOST_REFUSALS_A_MINUTE


def test_a_hidden_model_reads_like_an_unknown_one(url: str, secret: str) -> None:
    hidden = HostedModel.objects.create(public_name="hidden", is_visible=False)
    try:
        assert complete(url, secret, model="hidden").error["code"] == "model_not_found"
    finally:
        hidden.delete()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000])
def test_a_body_that_is_no_json_object(url: str, secret: str, body: bytes) -> None:
    reply = ask(url, "/chat/completions", secret=secret, body=body)
    assert reply.status == 400
    assert reply.error["message"].startswith("We could not parse the JSON body")


INVALID: list[tuple[dict[str, Any], str, str]] = [
    ({"model": None}, "missing_required_parameter", "model"),
    ({"model": 7}, "invalid_value", "model"),
    ({"messages": None}, "missing_required_parameter", "messages"),
    ({"messages": []}, "invalid_value", "messages"),
    ({"messages": ["hello"]}, "invalid_value", "messages[0]"),
    ({"messages": [{"content": "x"}]}, "missing_required_parameter", "messages[0].role"),
    ({"max_tokens": 0}, "invalid_value", "max_tokens"),
    ({"max_tokens": -5}, "invalid_value", "max_tokens"),
    ({"max_tokens": 1.5}, "invalid_value", "max_tokens"),
    ({"max_tokens": True}, "invalid_value", "max_tokens"),
    ({"max_completion_tokens": "many"}, "invalid_value", "max_completion_tokens"),
    ({"max_tokens": 10**30}, "invalid_value", "max_tokens"),
    ({"n": 0}, "invalid_value", "n"),
    ({"n": 1000}, "invalid_value", "n"),
    ({"stream": "yes"}, "invalid_value", "stream"),
    ({"stream_options": {"include_usage": True}}, "unsupported_parameter", "stream_options"),
    ({"stream": True, "stream_options": 1}, "invalid_value", "stream_options"),
    ({"prompt_embeds": "x"}, "unsupported_parameter", "prompt_embeds"),
    ({"chat_template": "{{ 7 }}"}, "unsupported_parameter", "chat_template"),
    ({"mm_processor_kwargs": {}}, "unsupported_parameter", "mm_processor_kwargs"),
    ({"lora_path": "/etc"}, "unsupported_parameter", "lora_path"),
    ({"model": "fake-embed"}, "unsupported_model", "model"),
    ({"n": 5}, "invalid_value", "n"),
    ({"top_logprobs": 49_152}, "invalid_value", "top_logprobs"),
    ({"grammar": "root"}, "unsupported_parameter", "grammar"),
    ({"max_tokens": 1, "n_predict": 200}, "unsupported_parameter", "n_predict"),
]


@pytest.mark.parametrize(("fields", "code", "param"), INVALID)
def test_a_field_that_cannot_be(
    url: str, secret: str, fake: FakeInferenceServer, fields: dict[str, Any], code: str, param: str
) -> None:
    before = fake.ledger.requests
    reply = complete(url, secret, **fields)
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, code, param)
    assert fake.ledger.requests == before


REMOTE: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}},
    {"type": "image_url", "image_url": "https://example.com/a.png"},
    {"type": "image_url", "image_url": {"url": "FILE:///etc/passwd"}},
    {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
    {"type": "file", "file": {"file_url": "https://example.com/a.pdf"}},
    {"type": "image_embeds", "image_embeds": "gASV"},
]


@pytest.mark.parametrize("part", REMOTE)
def test_an_address_that_a_server_would_fetch(url: str, secret: str, part: dict[str, Any]) -> None:
    reply = complete(url, secret, messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, part]}])
    assert reply.status == 400
    assert reply.error["param"].startswith("messages[0].content[1].")


def test_a_picture_in_the_message_itself_is_passed_on(url: str, secret: str) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert complete(url, secret, messages=[{"role": "user", "content": [part]}]).status == 200


def test_a_body_of_a_million_objects_is_not_parsed(url: str, secret: str) -> None:
    body = b'{"model": "fake-chat", "messages": [' + b"{}," * 1_000_000 + b"{}]}"
    reply = ask(url, "/chat/completions", secret=secret, body=body)
    assert (reply.status, reply.error["param"]) == (400, "body")


def test_a_body_of_a_million_fields_is_not_parsed(url: str, secret: str) -> None:
    fields = ",".join(f'"k{number}":1' for number in range(1_000_000))
    reply = ask(url, "/chat/completions", secret=secret, body=f'{{"model": "fake-chat", {fields}}}'.encode())
    assert (reply.status, reply.error["param"]) == (400, "body")


def test_a_long_text_with_quotes_in_it_is_no_great_number_of_texts(url: str, secret: str) -> None:
    assert complete(url, secret, messages=chat('say "word" ' * 200_000)).status == 200


def test_a_body_over_the_limit_can_be_read_by_who_sends_it(url: str, secret: str) -> None:
    big = b'{"model": "fake-chat", "messages": [{"role": "user", "content": "' + b"a" * (33 * 1024 * 1024) + b'"}]}'
    reply = ask(url, "/chat/completions", secret=secret, body=big)
    assert reply.status == 413
    assert "33554432" in reply.error["message"]


def test_a_body_over_the_limit_that_does_not_say_how_long_it_is(url: str, secret: str, settings: LazySettings) -> None:
    settings.GATEWAY_MAX_BODY_BYTES = 1000
    chunked = b"400\r\n" + b"a" * 1024 + b"\r\n0\r\n\r\n"
    reply = ask(url, "/chat/completions", secret=secret, body=chunked, headers={"Transfer-Encoding": "chunked"})
    assert reply.status == 413
    assert "1000" in reply.error["message"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/chat", "/chat/completions/", "/slots", "/../admin/", "//models", "/load_lora_adapter"]
)
def test_an_unknown_path(url: str, secret: str, path: str) -> None:
    reply = ask(url, path, secret=secret, body={})
    assert reply.status == 404
    assert reply.error["message"].startswith("Invalid URL (POST /v1/")


def test_a_wrong_method(url: str, secret: str) -> None:
    reply = ask(url, "/chat/completions", method="GET", secret=secret)
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"
    assert reply.error["code"] == "method_not_supported"
    assert ask(url, "/models", method="DELETE", secret=secret).status == 405


def test_the_host_header_says_nothing(url: str, secret: str) -> None:
    reply = ask(url, "/models", method="GET", secret=secret, headers={"Host": "evil.example"})
    assert reply.status == 200


def test_a_prompt_that_no_tokenizer_fits_into_the_window(url: str, secret: str, fake: FakeInferenceServer) -> None:
    before = fake.ledger.requests
    for content in ("a" * 300_000, [{"type": "text", "text": "字" * 300_000}]):
        reply = complete(url, secret, model="llama-chat", messages=chat(content))
        assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
        assert "1000" in reply.error["message"]
    assert fake.ledger.requests == before
    for content in ("a" * 200_000, " " * 900_000):
        assert complete(url, secret, model="llama-chat", messages=chat(content)).status == 200


# What the server behind does ----------------------------------------------------------------------------------------

SERVER_FAULTS: list[tuple[dict[str, Any], int, str | None]] = [
    ({"status": 500, "body": "<h1>Traceback at http://10.0.0.7:8000</h1>"}, 502, None),
    ({"status": 404}, 502, None),
    ({"status": 401, "body": {"error": "wrong key sk-backend-secret"}}, 502, None),
    ({"status": 302}, 502, None),
    ({"status": 503, "retry_after": "7"}, 503, "service_unavailable"),
    ({"status": 429, "retry_after": "7"}, 429, "rate_limit_exceeded"),
    ({"status": 400, "body": {"object": "error", "message": "bad at 0x7f3a", "code": 400}}, 400, "invalid_value"),
    ({"wrong_type": True}, 502, None),
    ({"bad_json": True}, 502, None),
    ({"die_after": 0}, 502, None),
]


@pytest.mark.parametrize(("told", "status", "code"), SERVER_FAULTS)
def test_a_server_that_fails(
    url: str, secret: str, event_of: Callable[[str], UsageEvent], told: dict[str, Any], status: int, code: str | None
) -> None:
    started = time.monotonic()
    reply = complete(url, secret, fake=told)
    assert time.monotonic() - started < 10, "half of what it would be waited for"
    assert (reply.status, reply.error["code"]) == (status, code)
    for inside in ("10.0.0.7", "0x7f3a", "sk-backend", "127.0.0.1"):
        assert inside not in reply.body.decode()
    if "retry_after" in told:
        assert reply.headers["retry-after"] == "7"
    if status == 502:
        assert "Try again" in reply.error["message"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    event = event_of(reply.headers["x-request-id"])
    assert (event.status, event.prompt_tokens, event.completion_tokens) == (status, 0, 0)
    if status == 429:
        assert problem_in_words(event) == "The model’s server is busy. Try again."


def test_a_prompt_that_is_too_long_says_by_how_much(url: str, secret: str) -> None:
    told = {
        "status": 400,
        "body": {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
            "code": 400,
        },
    }
    reply = complete(url, secret, fake=told)
    assert reply.status == 400
    assert reply.error["code"] == "context_length_exceeded"
    assert reply.error["param"] == "messages"
    assert "4096" in reply.error["message"]
    assert "5000" in reply.error["message"]


def test_a_server_that_is_gone(url: str, secret: str) -> None:
    reply = complete(url, secret, model="dead-chat")
    assert reply.status == 502
    assert reply.error["type"] == "server_error"
    assert "127.0.0.1" not in reply.body.decode()

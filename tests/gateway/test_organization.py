"""`/v1/organization` over HTTP: OpenAI's own client reads it, and management keys alone open it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import openai
import pytest
from django.core.cache import cache
from django.db import connection
from django.utils import timezone
from openai.types.admin.organization import (
    UsageAudioSpeechesResponse,
    UsageAudioTranscriptionsResponse,
    UsageCompletionsResponse,
    UsageCostsResponse,
    UsageEmbeddingsResponse,
    UsageImagesResponse,
    UsageModerationsResponse,
)

from accounts.models import TermsAcceptance
from accounts.projects.services import open_service_account
from accounts.services import accept_terms, publish_terms
from apikeys.models import ApiKey, KeySecret
from apikeys.services import disable_key, mint_key, mint_management_key, revoke_key
from apikeys.terms import Terms
from apikeys.verification import new_secret
from common.errors import ApiError, InvalidRequestError
from gateway import organization
from gateway.wire import Exchange
from tests.gateway.conftest import Reply, Stage, ask, chat
from usage.models import UsageEvent
from usage.organization.asked import Asked
from usage.organization.routes import ROUTES

COMPLETIONS = f"/organization/usage/completions?start_time={int(time.time()) - 3600}"


@pytest.fixture
def managing(stage: Stage) -> Iterator[Callable[..., str]]:
    """Makes management keys of Ada's: `managing(is_read_only=True)` gives the secret."""

    def make(**terms: Any) -> str:
        return mint_management_key(owner=stage.ada, name="dashboard", terms=Terms(**terms))[1]

    yield make
    ApiKey.objects.of_person(stage.ada).delete()


@pytest.fixture
def admin(url: str, managing: Callable[..., str]) -> Iterator[openai.OpenAI]:
    """OpenAI's SDK as an administrator sets it up."""
    with openai.OpenAI(base_url=url, api_key="none", admin_api_key=managing(), max_retries=0, timeout=20) as sdk:
        yield sdk


def usage(url: str, secret: str, **more: Any) -> Reply:
    return ask(url, COMPLETIONS, method="GET", secret=secret, **more)


def hang_up_on(client: openai.OpenAI) -> str:
    """Leave in the middle of an answer; the id of the request."""
    with client.chat.completions.create(
        model="fake-chat", messages=chat(), stream=True, extra_body={"fake": {"tokens": 2000, "rate": 100}}
    ) as stream:
        next(stream)
        return str(stream.response.headers["x-request-id"])


def test_it_works(
    admin: openai.OpenAI,
    client: openai.OpenAI,
    secret: str,
    url: str,
    stage: Stage,
    event_of: Callable[[str], UsageEvent],
) -> None:
    """What a client called is what an administrator reads, with the client and the types that OpenAI publishes."""
    key, began = ApiKey.objects.behind(secret).get(), int(time.time())
    chatted = client.chat.completions.create(model="paid-chat", messages=chat())
    embedded = client.embeddings.create(model="fake-embed", input="one two three")
    assert chatted.usage is not None
    answered = ask(url, "/chat/completions", secret=secret, body={"model": "paid-chat", "messages": chat()})
    embedding = ask(url, "/embeddings", secret=secret, body={"model": "fake-embed", "input": "one two three"})
    left = event_of(hang_up_on(client))
    for reply in (answered, embedding):
        event_of(reply.headers["x-request-id"])
    assert left.status == 499

    reports = admin.admin.organization.usage
    completions = reports.completions(
        start_time=began - 60, bucket_width="1m", api_key_ids=[key.public_id], group_by=["model", "api_key_id"]
    )
    assert completions.object == "page"
    found = {
        result.model: result
        for bucket in completions.data
        for result in bucket.results
        if result.object == "organization.usage.completions.result"
    }
    assert {model: result.num_model_requests for model, result in found.items()} == {"paid-chat": 2, "fake-chat": 1}
    assert found["paid-chat"].api_key_id == key.public_id
    assert found["paid-chat"].input_tokens == 2 * chatted.usage.prompt_tokens
    assert found["paid-chat"].output_tokens == 2 * chatted.usage.completion_tokens
    embeddings = reports.embeddings(start_time=began - 60, project_ids=[stage.project.public_id], bucket_width="1h")
    (vectors,) = [result for bucket in embeddings.data for result in bucket.results]
    assert vectors.object == "organization.usage.embeddings.result"
    assert (vectors.num_model_requests, vectors.input_tokens) == (2, 2 * embedded.usage.prompt_tokens)
    costs = reports.costs(start_time=began, api_key_ids=[key.public_id], group_by=["line_item"])
    paid = sum(event.cost_nano for event in UsageEvent.objects.filter(key_id=key.public_id))
    spent = [result for bucket in costs.data for result in bucket.results]
    amounts = [result.amount for result in spent if result.object == "organization.costs.result"]
    assert sum(amount.value or 0 for amount in amounts if amount) == paid / 1e9


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("usage/completions", UsageCompletionsResponse),
        ("usage/embeddings", UsageEmbeddingsResponse),
        ("usage/moderations", UsageModerationsResponse),
        ("usage/images", UsageImagesResponse),
        ("usage/audio_speeches", UsageAudioSpeechesResponse),
        ("usage/audio_transcriptions", UsageAudioTranscriptionsResponse),
        ("costs", UsageCostsResponse),
    ],
)
def test_answers_have_the_published_types(
    url: str,
    client: openai.OpenAI,
    secret: str,
    managing: Callable[..., str],
    event_of: Callable[[str], UsageEvent],
    path: str,
    shape: Any,
) -> None:
    for below, body in (
        ("/chat/completions", {"model": "paid-chat", "messages": chat()}),
        ("/embeddings", {"model": "fake-embed", "input": "one"}),
        ("/moderations", {"model": "fake-all", "input": "one"}),
        ("/images/generations", {"model": "fake-all", "prompt": "one"}),
        ("/audio/speech", {"model": "fake-all", "input": "one", "voice": "alloy"}),
    ):
        event_of(ask(url, below, secret=secret, body=body).headers["x-request-id"])
    heard = client.audio.transcriptions.with_raw_response.create(model="fake-all", file=("a.mp3", b"x"))
    event_of(heard.headers["x-request-id"])
    groups = "group_by=project_id&group_by=api_key_id"
    asked = f"/organization/{path}?start_time={int(time.time()) - 60}&{groups}"
    reply = ask(url, asked, method="GET", secret=managing())
    assert reply.status == 200
    assert reply.headers["x-request-id"].startswith("req_")
    assert any(bucket.results for bucket in shape.model_validate(reply.json, strict=True).data)


def test_ids_have_names(admin: openai.OpenAI, secret: str, stage: Stage) -> None:
    key, organization = ApiKey.objects.behind(secret).get(), admin.admin.organization
    assert [project.id for project in organization.projects.list(limit=1)] == [stage.project.public_id]
    assert organization.projects.retrieve(stage.project.public_id).name == stage.project.display_name
    kept = {one.id: one for one in organization.projects.api_keys.list(stage.project.public_id, limit=100)}
    maker = kept[key.public_id].owner.user
    assert maker is not None
    assert maker.id == stage.ada.public_id
    assert [(user.id, user.email) for user in organization.users.list()] == [(stage.ada.public_id, stage.ada.email)]
    with pytest.raises(openai.NotFoundError):
        organization.projects.retrieve("proj_unknown")


def test_every_report_of_openais_is_there_or_not_found(url: str, managing: Callable[..., str]) -> None:
    served = {"completions", "embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions"}
    assert {"costs", *(f"usage/{kind}" for kind in served)} <= set(ROUTES)
    for kind in ("vector_stores", "code_interpreter_sessions", "file_search_calls", "web_search_calls"):
        reply = ask(url, f"/organization/usage/{kind}?start_time=0", method="GET", secret=managing())
        assert (reply.status, reply.error["type"]) == (404, "invalid_request_error")


def test_a_wrong_question_is_refused_in_openais_shape(url: str, managing: Callable[..., str]) -> None:
    secret = managing()
    for query, param, code in (
        ("", "start_time", "missing_required_parameter"),
        ("?start_time=0&limit=32", "limit", "invalid_value"),
        ("?start_time=0&colour=red", "colour", "unsupported_parameter"),
        ("?start_time=0&models=a%00b", "models", "invalid_value"),
        ("?start_time=%ff", "start_time", "invalid_value"),
    ):
        reply = ask(url, f"/organization/usage/completions{query}", method="GET", secret=secret)
        assert (reply.status, reply.error["param"], reply.error["code"]) == (400, param, code)
    assert ask(url, COMPLETIONS, method="POST", secret=secret, body={}).status == 405


def test_only_a_management_key_opens_it(url: str, secret: str, stage: Stage) -> None:
    account = open_service_account(project=stage.project, name="nightly", by=stage.ada)
    _key, service = mint_key(project=stage.project, name="nightly", by=stage.ada, service_account=account)
    for wrong in (secret, service):
        reply = usage(url, wrong)
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
        assert "management key" in reply.error["message"]
        assert wrong not in reply.body.decode()
    missing = usage(url, "")
    assert (missing.status, missing.error["code"]) == (401, None)
    for junk in (new_secret("management"), "lycadm_" + "a" * 36, "x" * 5000, "clé"):
        reply = usage(url, "", headers={"Authorization": f"Bearer {junk}".encode().decode("latin-1")})
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")


def test_it_opens_no_longer_than_the_rest_api_is_open(url: str, stage: Stage, managing: Callable[..., str]) -> None:
    def ended(secret: str) -> bool:
        reply = usage(url, secret)
        return reply.status != 200 and (reply.status, reply.error["code"]) == (401, "invalid_api_key")

    def key_of(secret: str) -> ApiKey:
        return ApiKey.objects.behind(secret).get()

    revoked, disabled, expired, retired, orphaned = (managing() for _number in range(5))
    assert usage(url, revoked).status == 200
    revoke_key(key=key_of(revoked), by=stage.ada)
    disable_key(key=key_of(disabled), by=stage.ada)
    ApiKey.objects.filter(pk=key_of(expired).pk).update(expires_at=timezone.now())
    KeySecret.objects.filter(key=key_of(retired)).update(valid_until=timezone.now())
    assert all(ended(secret) for secret in (revoked, disabled, expired, retired))
    assert not ended(orphaned)
    stage.ada.is_active = False
    stage.ada.save()
    try:
        assert ended(orphaned)
    finally:
        stage.ada.is_active = True
        stage.ada.save()


def test_from_another_address_it_is_refused(url: str, managing: Callable[..., str]) -> None:
    reply = usage(url, managing(allowed_networks=("192.0.2.0/24", "2001:db8::/32")))
    assert (reply.status, reply.error["code"]) == (401, "ip_not_authorized")
    assert usage(url, managing(allowed_networks=("127.0.0.0/8",))).status == 200


def test_it_waits_until_its_owner_accepts_the_terms(url: str, stage: Stage, managing: Callable[..., str]) -> None:
    secret = managing()
    version = publish_terms(english="Be kind.", chinese="", in_force_at=timezone.now(), by=stage.ada)
    try:
        reply = usage(url, secret)
        assert (reply.status, reply.error["code"]) == (403, "terms_not_accepted")
        assert "/terms/" in reply.error["message"]
        accept_terms(version=version, by=stage.ada)
        assert usage(url, secret).status == 200
    finally:
        TermsAcceptance.objects.all().delete()
        version.delete()


def test_it_waits_until_its_owner_has_the_second_factor_that_is_asked_for(
    url: str, stage: Stage, managing: Callable[..., str]
) -> None:
    organization = stage.project.organization
    organization.requires_second_factor = True
    organization.save(update_fields=["requires_second_factor"])
    try:
        reply = usage(url, managing())
        assert (reply.status, reply.error["code"]) == (403, "second_factor_required")
        assert "/second-factor/" in reply.error["message"]
    finally:
        organization.requires_second_factor = False
        organization.save(update_fields=["requires_second_factor"])


def test_a_key_that_only_reads_is_enough_and_its_use_is_noted(url: str, managing: Callable[..., str]) -> None:
    secret = managing(is_read_only=True)
    assert usage(url, secret, headers={"User-Agent": "grafana/12"}).status == 200
    kept = KeySecret.objects.get(key=ApiKey.objects.behind(secret).get())
    assert (kept.last_used_address, kept.last_used_agent) == ("127.0.0.1", "grafana/12")
    assert kept.last_used_at is not None
    assert timezone.now() - kept.last_used_at < timedelta(minutes=1)


def test_a_header_names_one_organization(url: str, stage: Stage, managing: Callable[..., str]) -> None:
    secret = managing()
    own = {"OpenAI-Organization": stage.project.organization.public_id}
    assert usage(url, secret, headers=own).status == 200
    reply = usage(url, secret, headers={"OpenAI-Organization": "org_unknown"})
    assert (reply.status, reply.error["code"]) == (401, "invalid_organization")


def test_one_address_may_not_ask_without_end(url: str, managing: Callable[..., str]) -> None:
    secret = managing()
    cache.set("often:organizations:127.0.0.1", organization.REQUESTS_PER_MINUTE - 1, 60)
    assert usage(url, secret).status == 200
    reply = usage(url, secret)
    assert (reply.status, reply.error["code"]) == (429, "rate_limit_exceeded")
    assert reply.headers["retry-after"] == "60"


def test_what_takes_too_long_to_add_up_is_ended_and_holds_up_nothing_else(
    managing: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organization, "STATEMENT_SECONDS", 1)
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/organization/costs",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {managing()}".encode())],
    }

    def endless(asked: Asked) -> dict[str, Any]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")
        return {}

    async def ask_twice() -> bytes:
        api, exchange = organization.OrganizationApi(), Exchange(scope, _silent, _silent, shape_of_errors=ApiError.body)
        with pytest.raises(InvalidRequestError, match="too long to add up"):
            await api.answer(endless, exchange)
        return await api.answer(lambda asked: {"user": asked.user.name}, exchange)

    assert asyncio.run(ask_twice()) == b'{"user":"Ada"}'


async def _silent(*_message: Any) -> Any:
    raise AssertionError("nothing is said to a client and nothing heard from it")

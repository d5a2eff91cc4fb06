"""Batches that never begin: what the request says, and what stands in the file, line by line."""

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from django.conf import LazySettings

from batches import batches, lines
from batches.models import Batch
from batches.worker import BatchWorker
from catalog.models import HostedModel, ModelAlias
from tests.batches.conftest import CHAT, in_the_end, line, make, upload
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Stage, ask


def errors_of(client: openai.OpenAI, worker: BatchWorker, requests: list[Any]) -> list[tuple[str | None, int | None]]:
    """Codes and lines of what is wrong with a file, whose batch has then failed."""
    batch = make(client, requests)
    worker.take(batch.id)
    over = in_the_end(client, batch)
    assert (over.status, bool(over.failed_at), over.output_file_id) == ("failed", True, None)
    assert over.errors
    assert over.errors.data
    assert all(error.message for error in over.errors.data)
    return [(error.code, error.line) for error in over.errors.data]


def test_it_works(client: openai.OpenAI, worker: BatchWorker, fake: FakeInferenceServer) -> None:
    before = len(fake.ledger.entries)
    assert errors_of(client, worker, [line("one"), b"", b'{"custom_id": "two", ', line("three")]) == [
        ("invalid_json_line", 3)
    ]
    assert len(fake.ledger.entries) == before, "nothing is asked of a file that is wrong"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"custom_id": None}, "invalid_custom_id"),
        ({"custom_id": 7}, "invalid_custom_id"),
        ({"custom_id": "x" * 513}, "invalid_custom_id"),
        ({"custom_id": "good"}, "duplicate_custom_id"),
        ({"method": "GET"}, "invalid_method"),
        ({"url": "/v1/embeddings"}, "mismatched_url"),
        ({"url": "https://internal/v1/chat/completions"}, "mismatched_url"),
        ({"body": None}, "invalid_body"),
        ({"body": {"messages": []}}, "missing_required_parameter"),
        ({"body": {"model": "plain-chat"}}, "mismatched_model"),
        ({"body": {"model": "fake-chat", "stream": True}}, "unsupported_parameter"),
    ],
)
def test_a_line_that_cannot_be(client: openai.OpenAI, worker: BatchWorker, changes: dict[str, Any], code: str) -> None:
    assert errors_of(client, worker, [line("good"), {**line("bad"), **changes}]) == [(code, 2)]


@pytest.mark.parametrize("raw", [b"[]", b"7", b"\xff\xfe", b'{"a": ' + b"[" * 400_000 + b"]" * 400_000 + b"}"])
def test_a_line_that_is_no_object(client: openai.OpenAI, worker: BatchWorker, raw: bytes) -> None:
    assert errors_of(client, worker, [line("good"), raw]) == [("invalid_json_line", 2)]


def test_a_file_without_lines(client: openai.OpenAI, worker: BatchWorker) -> None:
    assert errors_of(client, worker, [b"", b"  "]) == [("empty_file", None)]


def test_too_many_lines(client: openai.OpenAI, worker: BatchWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MOST_LINES", 3)
    assert errors_of(client, worker, [line(str(n)) for n in range(4)]) == [("too_many_tasks", None)]


def test_a_line_that_is_too_long(client: openai.OpenAI, worker: BatchWorker, settings: LazySettings) -> None:
    settings.GATEWAY_MAX_BODY_BYTES = 1000
    requests = [line("short"), line("long", text="x" * 5000), line("after")]
    assert errors_of(client, worker, requests) == [("line_too_long", 2)]


def test_a_file_of_which_all_is_wrong_is_not_repeated(client: openai.OpenAI, worker: BatchWorker) -> None:
    assert len(errors_of(client, worker, [b"{"] * 500)) == lines.MOST_ERRORS


@pytest.mark.parametrize("model", ["no-such-model", "nul\0in it"])
def test_a_model_that_does_not_exist(client: openai.OpenAI, worker: BatchWorker, model: str) -> None:
    assert errors_of(client, worker, [line("one", model=model)]) == [("model_not_found", None)]


@pytest.fixture
def alias(stage: Stage) -> Iterator[str]:
    """Another name of a model, which the worker knows from its start."""
    row = ModelAlias.objects.create(name="in-batches", hosted_model=HostedModel.objects.get(public_name="fake-chat"))
    yield row.name
    row.delete()


def test_another_name_of_a_model(url: str, mint: Callable[..., str], alias: str, worker: BatchWorker) -> None:
    with openai.OpenAI(base_url=url, api_key=mint(allowed_models=("fake-chat",)), max_retries=0) as client:
        batch = make(client, [line("one", model=alias)])
        worker.take(batch.id)
        assert in_the_end(client, batch).status == "completed"


def test_a_model_that_the_key_may_not_use(url: str, mint: Callable[..., str], worker: BatchWorker) -> None:
    with openai.OpenAI(base_url=url, api_key=mint(allowed_models=("plain-chat",)), max_retries=0) as client:
        assert errors_of(client, worker, [line("one")]) == [("model_not_found", None)]


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"input_file_id": None}, 400, "input_file_id"),
        ({"input_file_id": "file-none"}, 404, "input_file_id"),
        ({"input_file_id": "nul\0"}, 404, "input_file_id"),
        ({"endpoint": None}, 400, "endpoint"),
        ({"endpoint": "/v1/files"}, 400, "endpoint"),
        ({"endpoint": 7}, 400, "endpoint"),
        ({"completion_window": "1h"}, 400, "completion_window"),
        ({"metadata": []}, 400, "metadata"),
        ({"metadata": {str(n): "x" for n in range(17)}}, 400, "metadata"),
        ({"metadata": {"n": 7}}, 400, "metadata"),
        ({"metadata": {"n": "\0"}}, 400, "metadata"),
        ({"metadata": {"x" * 65: "x"}}, 400, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, 400, "output_expires_after.seconds"),
        ({"output_expires_after": {"seconds": 3600}}, 400, "output_expires_after"),
    ],
)
def test_a_request_that_cannot_be(
    url: str, secret: str, client: openai.OpenAI, changes: dict[str, Any], status: int, param: str
) -> None:
    body = {"input_file_id": upload(client, [line("one")]), "endpoint": CHAT, "completion_window": "24h", **changes}
    reply = ask(url, "/batches", secret=secret, body=body)
    assert (reply.status, reply.error["param"]) == (status, param)
    assert not Batch.objects.exists()


def test_a_file_for_something_else_is_no_input(client: openai.OpenAI) -> None:
    stored = client.files.create(file=("a.jsonl", b"{}"), purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="purpose 'batch'"):
        client.batches.create(input_file_id=stored.id, endpoint=CHAT, completion_window="24h")  # type: ignore[arg-type]


def test_a_key_makes_batches_of_what_it_may_use_only(url: str, mint: Callable[..., str]) -> None:
    secret = mint(allowed_endpoints=("files", "batches", "embeddings"))
    with (
        openai.OpenAI(base_url=url, api_key=secret, max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError, match="/v1/chat/completions"),
    ):
        make(client, [line("one")])


def test_so_many_batches_are_under_way_at_once(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_UNFINISHED", 1)
    make(client, [line("one")])
    with pytest.raises(openai.RateLimitError, match="the most it may have"):
        make(client, [line("two")])

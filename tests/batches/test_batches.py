"""Batches from the upload to the answers, over HTTP, with OpenAI's own client and real workers."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from django.conf import LazySettings
from django.utils import timezone

from accounts.models import TermsAcceptance
from accounts.services import accept_terms, publish_terms
from apikeys.models import ApiKey
from apikeys.services import change_key, revoke_key
from batches import progress, storing
from batches import worker as workers
from batches.models import Batch, BatchPart, StoredFile
from batches.worker import BatchWorker
from catalog.models import Deployment
from common.redis import durable
from tests.batches.conftest import (
    in_the_end,
    line,
    lines_of,
    make,
    parts_written,
    process_of_worker,
    send_now,
)
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Stage, begun, wait_for
from usage.ingest import drain
from usage.models import UsageEvent


def words_of(fake: FakeInferenceServer) -> list[str]:
    """The last words of the prompts that the server was asked, in order."""
    return [entry.body["messages"][-1]["content"].split()[-1] for entry in fake.ledger.entries]


def test_it_works(
    client: openai.OpenAI, fake: FakeInferenceServer, secret: str, event_of: Callable[[str], UsageEvent]
) -> None:
    asked = [line(f"row-{number}", max_tokens=3) for number in range(20)]
    asked.append(line("too many answers", n=99))
    batch = make(client, asked, metadata={"run": "nightly"})
    assert (batch.object, batch.status, batch.endpoint) == ("batch", "validating", "/v1/chat/completions")
    assert (batch.completion_window, batch.metadata) == ("24h", {"run": "nightly"})
    assert batch.expires_at == batch.created_at + 24 * 3600

    process = process_of_worker()
    try:
        over = in_the_end(client, batch)
    finally:
        process.terminate()
        process.wait(20)

    assert (over.status, over.model, over.errors) == ("completed", "fake-chat", None)
    counts = over.request_counts
    assert counts
    assert (counts.total, counts.completed, counts.failed) == (21, 20, 1)
    assert over.in_progress_at
    assert over.finalizing_at
    assert over.completed_at
    assert over.usage
    assert (over.usage.input_tokens, over.usage.output_tokens, over.usage.total_tokens) == (60, 60, 120)

    answers = lines_of(client, over.output_file_id)
    assert set(answers) == {f"row-{number}" for number in range(20)}
    response = answers["row-7"]["response"]
    assert (response["status_code"], answers["row-7"]["error"]) == (200, None)
    assert response["body"]["choices"][0]["message"]["content"] == "word word word "
    assert response["body"]["model"] == "fake-chat"
    (refused,) = lines_of(client, over.error_file_id).values()
    assert (refused["custom_id"], refused["response"]["status_code"]) == ("too many answers", 400)
    assert refused["response"]["body"]["error"]["param"] == "n"
    assert over.output_file_id
    output = client.files.retrieve(over.output_file_id)
    assert (output.purpose, output.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    assert output.expires_at == output.created_at + 30 * 24 * 3600

    event = event_of(response["request_id"])
    assert (event.source, event.status, event.endpoint) == ("batch", 200, "chat/completions")
    assert event.key_id == ApiKey.objects.behind(secret).get().public_id
    assert [found.id for found in client.batches.list()] == [batch.id]
    assert not BatchPart.objects.exists()


def test_embeddings(client: openai.OpenAI, worker: BatchWorker) -> None:
    asked = {"custom_id": "one", "method": "POST", "url": "/v1/embeddings"}
    batch = make(client, [{**asked, "body": {"model": "fake-embed", "input": "text"}}], endpoint="/v1/embeddings")
    worker.take(batch.id)
    over = in_the_end(client, batch)
    (answer,) = lines_of(client, over.output_file_id).values()
    assert answer["response"]["body"]["data"][0]["embedding"] == [1.0, 2.0]


def test_a_worker_that_is_killed_leaves_a_batch_that_another_one_ends(
    client: openai.OpenAI, fake: FakeInferenceServer, worker: BatchWorker
) -> None:
    fake.ledger.entries.clear()
    batch = make(client, [line(f"row-{n}", text=f"word {n}", fake={"slow_headers": 0.2}) for n in range(60)])
    process = process_of_worker()
    try:
        wait_for(lambda: parts_written(batch) >= 10, seconds=30)
    finally:
        process.kill()
        process.wait()
    written = {number for numbers in BatchPart.objects.values_list("lines", flat=True) for number in numbers}
    assert 10 <= len(written) < 60
    asked_by_the_first = len(fake.ledger.entries)
    worker.take(batch.id)
    assert client.batches.retrieve(batch.id).status == "in_progress"
    assert Batch.objects.get().claim, "it is not taken away from a worker that may only be slow"

    Batch.objects.update(heartbeat_at=timezone.now() - progress.HEARTBEAT_MISSED)
    worker.take(batch.id)
    over = in_the_end(client, batch)

    assert over.status == "completed"
    assert set(lines_of(client, over.output_file_id)) == {f"row-{n}" for n in range(60)}
    counts = over.request_counts
    assert counts
    assert (counts.total, counts.completed, counts.failed) == (60, 60, 0)
    # What was written down is not asked again.
    again = words_of(fake)[asked_by_the_first:]
    assert sorted(map(int, again)) == sorted(set(range(60)) - {number - 1 for number in written})


def test_what_is_written_under_a_claim_that_was_lost_counts_for_nothing(
    client: openai.OpenAI, fake: FakeInferenceServer, worker: BatchWorker
) -> None:
    batch = make(client, [line(f"row-{n}", fake={"slow_headers": 0.3}) for n in range(40)])
    worker.take(batch.id)
    wait_for(lambda: parts_written(batch) > 0)
    # Somebody took the first one for dead.
    Batch.objects.update(heartbeat_at=timezone.now() - progress.HEARTBEAT_MISSED)
    second = BatchWorker()
    try:
        second.take(batch.id)
        over = in_the_end(client, batch)
    finally:
        second.close()
    assert set(lines_of(client, over.output_file_id)) == {f"row-{n}" for n in range(40)}
    counts = over.request_counts
    assert counts
    assert (counts.completed, counts.failed) == (40, 0)


def test_a_worker_that_is_told_to_stop_leaves_its_batch_at_once(client: openai.OpenAI, worker: BatchWorker) -> None:
    batch = make(client, [line(f"row-{n}", fake={"slow_headers": 0.3}) for n in range(60)])
    first = BatchWorker()
    first.take(batch.id)
    wait_for(lambda: parts_written(batch) > 0)
    first.close()
    row = Batch.objects.get()
    assert (row.claim, row.status) == ("", "in_progress")
    written = row.completed
    assert written == parts_written(batch) < 60
    worker.take(batch.id)
    over = in_the_end(client, batch)
    assert len(lines_of(client, over.output_file_id)) == 60


def test_a_batch_whose_message_was_lost_is_found(client: openai.OpenAI) -> None:
    make(client, [line("one")])
    durable().delete("ly:celery:batches")
    assert progress.send_again() == 0, "its message may still be on its way"
    assert send_now() == 1
    assert durable().llen("ly:celery:batches") == 1
    assert progress.send_again() == 0


def test_a_limit_makes_lines_wait(
    url: str, mint: Callable[..., str], worker: BatchWorker, event_of: Callable[[str], UsageEvent]
) -> None:
    with openai.OpenAI(base_url=url, api_key=mint(concurrent_requests=1), max_retries=0) as client:
        batch = make(client, [line(f"row-{n}", fake={"slow_headers": 0.1}) for n in range(6)])
        worker.take(batch.id)
        over = in_the_end(client, batch)
        answers = lines_of(client, over.output_file_id)
    assert len(answers) == 6
    event = event_of(answers["row-0"]["response"]["request_id"])
    assert not UsageEvent.objects.filter(key_id=event.key_id).exclude(status=200).exists()


@pytest.fixture
def one_slot(stage: Stage, settings: LazySettings) -> Iterator[BatchWorker]:
    """A worker that knows a model whose server takes one call at a time and which nobody waits for."""
    settings.GATEWAY_SLOT_WAIT_SECONDS = 0
    deployments = Deployment.objects.filter(hosted_model__public_name="plain-chat")
    deployments.update(most_in_flight=1)
    made = BatchWorker()
    yield made
    made.close()
    deployments.update(most_in_flight=None)


def test_a_line_that_waits_for_a_slot_is_in_the_usage_once(
    client: openai.OpenAI, one_slot: BatchWorker, event_of: Callable[[str], UsageEvent]
) -> None:
    batch = make(client, [line(f"row-{n}", model="plain-chat", fake={"slow_headers": 0.3}) for n in range(3)])
    one_slot.take(batch.id)
    answers = lines_of(client, in_the_end(client, batch).output_file_id)
    events = [event_of(answer["response"]["request_id"]) for answer in answers.values()]
    assert len(events) == 3
    assert UsageEvent.objects.filter(key_id=events[0].key_id).count() == 3


def test_a_server_that_comes_back_is_asked_again(
    client: openai.OpenAI, worker: BatchWorker, fake: FakeInferenceServer
) -> None:
    batch = make(client, [line(f"row-{n}") for n in range(3)])
    fake.stop()
    worker.take(batch.id)
    wait_for(lambda: Batch.objects.get().status == "in_progress")
    time.sleep(0.5)  # so that each line was refused once
    fake.start()
    over = in_the_end(client, batch)
    assert (over.status, len(lines_of(client, over.output_file_id))) == ("completed", 3)


def test_few_lines_are_in_flight_at_once(
    client: openai.OpenAI, fake: FakeInferenceServer, settings: LazySettings
) -> None:
    settings.BATCH_LINES_AT_ONCE = 2
    fake.ledger.entries.clear()
    limited = BatchWorker()
    try:
        batches = [make(client, [line(f"row-{n}", fake={"slow_headers": 0.1}) for n in range(6)]) for _ in range(3)]
        for batch in batches:
            limited.take(batch.id)
        for batch in batches:
            in_the_end(client, batch)
    finally:
        limited.close()
    moments = [(entry.opened_at, 1) for entry in fake.ledger.entries]
    moments += [(entry.closed_at or 0, -1) for entry in fake.ledger.entries]
    running = most = 0
    for _moment, change in sorted(moments):
        running += change
        most = max(most, running)
    assert (len(fake.ledger.entries), most) == (18, 2)


def test_a_cancelled_batch_keeps_what_is_done(client: openai.OpenAI, worker: BatchWorker) -> None:
    batch = make(client, [line(f"row-{n}", fake={"slow_headers": 0.3}) for n in range(200)])
    worker.take(batch.id)
    wait_for(lambda: parts_written(batch) > 0)
    cancelled = client.batches.cancel(batch.id)
    assert (cancelled.status, bool(cancelled.cancelling_at)) == ("cancelling", True)
    assert client.batches.cancel(batch.id).status == "cancelling"
    over = in_the_end(client, batch)
    assert (over.status, bool(over.cancelled_at)) == ("cancelled", True)
    answers, errors = lines_of(client, over.output_file_id), lines_of(client, over.error_file_id)
    assert answers
    assert set(answers) | set(errors) == {f"row-{n}" for n in range(200)}
    assert not set(answers) & set(errors)
    assert {entry["error"]["code"] for entry in errors.values()} == {"batch_cancelled"}
    assert {entry["response"] for entry in errors.values()} == {None}
    counts = over.request_counts
    assert counts
    assert (counts.completed, counts.failed) == (len(answers), len(errors))
    with pytest.raises(openai.ConflictError) as refusal:
        client.batches.cancel(batch.id)
    assert refusal.value.code == "batch_not_cancellable"
    assert refusal.value.response.headers["x-should-retry"] == "false"


def test_a_batch_that_nobody_began_can_be_cancelled(client: openai.OpenAI, worker: BatchWorker) -> None:
    batch = make(client, [line("one")])
    client.batches.cancel(batch.id)
    worker.take(batch.id)
    over = in_the_end(client, batch)
    assert (over.status, over.output_file_id) == ("cancelled", None)
    assert list(lines_of(client, over.error_file_id)) == ["one"]


def test_after_24_hours_what_is_done_is_kept(client: openai.OpenAI, worker: BatchWorker) -> None:
    batch = make(client, [line(f"row-{n}", fake={"slow_headers": 0.3}) for n in range(200)])
    worker.take(batch.id)
    wait_for(lambda: parts_written(batch) > 0)
    Batch.objects.update(expires_at=timezone.now())
    over = in_the_end(client, batch)
    assert (over.status, bool(over.expired_at)) == ("expired", True)
    answers, errors = lines_of(client, over.output_file_id), lines_of(client, over.error_file_id)
    assert answers
    assert set(answers) | set(errors) == {f"row-{n}" for n in range(200)}
    assert {entry["error"]["code"] for entry in errors.values()} == {"batch_expired"}


def test_a_key_that_is_revoked_ends_the_lines_that_are_left(
    url: str, mint: Callable[..., str], client: openai.OpenAI, worker: BatchWorker, stage: Stage,
    fake: FakeInferenceServer,
) -> None:  # fmt: skip
    fake.ledger.entries.clear()
    secret = mint()
    with openai.OpenAI(base_url=url, api_key=secret, max_retries=0) as owner:
        batch = make(owner, [line(f"row-{n}", fake={"slow_headers": 0.3}) for n in range(300)])
    worker.take(batch.id)
    wait_for(lambda: parts_written(batch) > 0)
    revoke_key(key=ApiKey.objects.behind(secret).get(), by=stage.ada)
    over = in_the_end(client, batch)  # another key of the project
    assert over.status == "completed"
    answers, errors = lines_of(client, over.output_file_id), lines_of(client, over.error_file_id)
    assert set(answers) | set(errors) == {f"row-{n}" for n in range(300)}
    assert {entry["error"]["code"] for entry in errors.values()} == {"invalid_api_key"}
    assert len(fake.ledger.entries) < 150


def test_a_key_that_is_held_to_other_endpoints_asks_no_more(
    url: str, mint: Callable[..., str], client: openai.OpenAI, worker: BatchWorker
) -> None:
    secret = mint()
    with openai.OpenAI(base_url=url, api_key=secret, max_retries=0) as owner:
        batch = make(owner, [line("one")])
    ApiKey.objects.filter(pk=ApiKey.objects.behind(secret).get().pk).update(allowed_endpoints=["batches"])
    worker.take(batch.id)
    over = in_the_end(client, batch)
    (left,) = lines_of(client, over.error_file_id).values()
    assert left["error"]["code"] == "invalid_api_key"


def test_a_budget_that_is_used_up_ends_the_lines_that_are_left(
    url: str, mint: Callable[..., str], worker: BatchWorker
) -> None:
    # A line costs 3 tokens in and 2 out, at 1 and 10 nano-dollars each; before it is answered it holds back far more.
    secret, price, lasts_for = mint(monthly_budget_nano=23 * 40), 23, 40
    with openai.OpenAI(base_url=url, api_key=secret, max_retries=0) as client:
        asked = [line(f"row-{n}", model="paid-chat", max_tokens=2, fake={"slow_headers": 0.1}) for n in range(60)]
        batch = make(client, asked)
        worker.take(batch.id)
        over = in_the_end(client, batch)
        answers, errors = lines_of(client, over.output_file_id), lines_of(client, over.error_file_id)
    assert over.status == "completed"
    assert set(answers) | set(errors) == {f"row-{n}" for n in range(60)}
    # What lines in flight hold back refuses no others: in the end nearly all of the budget is used, and no more.
    assert lasts_for // 2 < len(answers) <= lasts_for
    assert {entry["response"]["status_code"] for entry in errors.values()} == {429}
    assert {entry["response"]["body"]["error"]["code"] for entry in errors.values()} == {"insufficient_quota"}
    drain()
    spent = sum(
        event.cost_nano for event in UsageEvent.objects.filter(key_id=ApiKey.objects.behind(secret).get().public_id)
    )
    assert spent == len(answers) * price


def test_what_others_hold_back_of_a_budget_is_waited_for(
    url: str, mint: Callable[..., str], worker: BatchWorker
) -> None:
    # It covers what one call could cost at most, and not two.
    secret = mint(monthly_budget_nano=300)
    with openai.OpenAI(base_url=url, api_key=secret, max_retries=0) as client:
        batch = make(client, [line("one", model="paid-chat", max_tokens=2)])
        with begun(url, secret, {"slow_headers": 1.5}, max_tokens=2) as held:
            wait_for(lambda: bool(durable().hlen(f"ly:{{{Batch.objects.get().project.organization.public_id}}}:holds")))
            worker.take(batch.id)
            assert held.getresponse().read()
        over = in_the_end(client, batch)
        assert set(lines_of(client, over.output_file_id)) == {"one"}
    drain()
    # Nor is it told of as a refusal: it was none.
    made = UsageEvent.objects.filter(key_id=ApiKey.objects.behind(secret).get().public_id)
    assert sorted(made.values_list("source", "status", "cost_nano")) == [("batch", 200, 23), ("key", 200, 23)]


def test_what_others_hold_back_of_a_day_s_tokens_is_waited_for(
    url: str, mint: Callable[..., str], worker: BatchWorker
) -> None:
    # Of both together it has no room for the most that they ask for, and plenty for what they use.
    secret = mint(tokens_per_day=150)
    with openai.OpenAI(base_url=url, api_key=secret, max_retries=0) as client:
        batch = make(client, [line("one", max_tokens=80, fake={"tokens": 2})])
        with begun(url, secret, {"slow_headers": 1.5, "tokens": 2}, max_tokens=80) as held:
            wait_for(lambda: bool(durable().hlen(f"ly:{{{Batch.objects.get().project.organization.public_id}}}:holds")))
            worker.take(batch.id)
            assert held.getresponse().read()
        over = in_the_end(client, batch)
        assert set(lines_of(client, over.output_file_id)) == {"one"}


def test_a_limit_that_is_raised_meanwhile_lets_a_batch_go_on(
    url: str, mint: Callable[..., str], worker: BatchWorker, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker looks again once a minute, which no test is to wait for.
    monkeypatch.setattr(workers, "MOST_PAUSE_SECONDS", 0.5)
    secret = mint(requests_per_day=1)
    with openai.OpenAI(base_url=url, api_key=secret, max_retries=0) as client:
        batch = make(client, [line("one"), line("two")])
        worker.take(batch.id)
        wait_for(lambda: Batch.objects.get().completed == 1)
        change_key(key=ApiKey.objects.behind(secret).get(), changes={"requests_per_day": 2}, by=stage.ada)
        assert set(lines_of(client, in_the_end(client, batch).output_file_id)) == {"one", "two"}


def test_terms_that_are_published_meanwhile_hold_a_batch_up(
    client: openai.OpenAI, worker: BatchWorker, stage: Stage
) -> None:
    batch = make(client, [line("one")])
    version = publish_terms(english="Be kind.", chinese="", in_force_at=timezone.now(), by=stage.ada)
    try:
        worker.take(batch.id)
        wait_for(lambda: Batch.objects.get().status == "in_progress")
        assert not Batch.objects.get().completed
        accept_terms(version=version, by=stage.ada)
        over = in_the_end(client, batch)
    finally:
        TermsAcceptance.objects.all().delete()
        version.delete()
    assert over.request_counts
    assert over.request_counts.completed == 1


def test_output_is_kept_for_as_long_as_was_asked(client: openai.OpenAI, worker: BatchWorker) -> None:
    batch = make(client, [line("one")], output_expires_after={"anchor": "created_at", "seconds": 7200})
    worker.take(batch.id)
    over = in_the_end(client, batch)
    assert over.output_file_id
    output = client.files.retrieve(over.output_file_id)
    assert output.expires_at == output.created_at + 7200


def test_an_answer_with_line_breaks_stands_on_one_line(client: openai.OpenAI, worker: BatchWorker) -> None:
    pretty = json.dumps({"choices": [{"message": {"content": "a\nb"}}], "usage": None, "model": "fake-chat"}, indent=1)
    batch = make(client, [line("one", fake={"status": 200, "body": pretty})])
    worker.take(batch.id)
    over = in_the_end(client, batch)
    (answer,) = lines_of(client, over.output_file_id).values()
    assert answer["response"]["body"]["choices"][0]["message"]["content"] == "a\nb"


def test_nothing_of_a_batch_stays_in_the_storage_but_its_files(
    client: openai.OpenAI, worker: BatchWorker, settings: LazySettings
) -> None:
    batch = make(client, [line("one"), line("two", n=99)])
    worker.take(batch.id)
    in_the_end(client, batch)
    folder = Path(settings.MEDIA_ROOT) / "batches" / batch.id
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2
    StoredFile.objects.all().delete()
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_faults_of_ours_are_tried_again_and_then_told(
    client: openai.OpenAI, worker: BatchWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "MOST_FAULTS", 2)
    batch = make(client, [line("one")])
    storing.remove(StoredFile.objects.get().stored_as)
    worker.take(batch.id)
    wait_for(lambda: Batch.objects.get().faults == 1)
    assert client.batches.retrieve(batch.id).status == "validating"
    worker.take(batch.id)
    over = in_the_end(client, batch)
    assert over.status == "failed"
    assert over.errors
    assert over.errors.data
    assert over.errors.data[0].code == "server_error"


def test_a_full_worker_leaves_a_batch_to_others(
    client: openai.OpenAI, worker: BatchWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MOST_BATCHES", 0)
    batch = make(client, [line("one")])
    worker.take(batch.id)
    assert Batch.objects.get().claim == ""
    monkeypatch.undo()
    worker.take(batch.id)
    assert in_the_end(client, batch).status == "completed"


def test_a_server_without_room_is_asked_again(
    client: openai.OpenAI, worker: BatchWorker, fake: FakeInferenceServer
) -> None:
    before = len(fake.ledger.entries)
    batch = make(client, [line("one", fake={"status": 429})])
    worker.take(batch.id)
    wait_for(lambda: len(fake.ledger.entries) >= before + 2)
    client.batches.cancel(batch.id)
    over = in_the_end(client, batch)
    (left,) = lines_of(client, over.error_file_id).values()
    assert left["error"]["code"] == "batch_cancelled"

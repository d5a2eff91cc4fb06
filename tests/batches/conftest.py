"""The gateway's stage, with a worker for batches: in this process, or in one of its own."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from django.conf import settings
from django.db import connection
from openai.types import Batch as SdkBatch

from batches import progress
from batches.models import Batch, BatchPart, MadeOnce, StoredFile
from batches.worker import BatchWorker
from common.redis import durable
from tests.gateway.conftest import (  # noqa: F401 - fixtures
    Stage,
    client,
    db,
    event_of,
    fake,
    mint,
    secret,
    stage,
    url,
    wait_for,
)

CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def empty(db: None, stage: Stage) -> Iterator[None]:  # noqa: F811
    """No batch or file of one test is there in the next."""
    durable().delete("ly:celery:batches")
    yield
    MadeOnce.objects.all().delete()
    Batch.objects.all().delete()
    StoredFile.objects.all().delete()


@pytest.fixture
def worker(stage: Stage) -> Iterator[BatchWorker]:  # noqa: F811
    """A worker in this process."""
    made = BatchWorker()
    yield made
    made.close()


def process_of_worker() -> "subprocess.Popen[bytes]":
    """A worker in a process of its own, as the supervisor starts it."""
    database = connection.settings_dict["NAME"]
    queue = ("-Q", "batches", "-P", "threads", "-c", "2")
    return subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "portal", "worker", *queue, "--without-gossip", "--without-mingle"],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": settings.DATABASE_URL.rpartition("/")[0] + f"/{database}",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def line(custom_id: str, *, model: str = "fake-chat", text: str = "one two three", **fields: Any) -> dict[str, Any]:
    """A line of an input for chat completions."""
    messages = [{"role": "user", "content": text}]
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": CHAT,
        "body": {"model": model, "messages": messages, **fields},
    }


def as_lines(requests: list[Any]) -> bytes:
    """An input file; what is bytes is a line as it is."""
    return b"\n".join(given if isinstance(given, bytes) else json.dumps(given).encode() for given in requests) + b"\n"


def upload(client: openai.OpenAI, requests: list[Any], **more: Any) -> str:  # noqa: F811
    """The id of an input file with these lines."""
    stored = client.files.create(file=("input.jsonl", io.BytesIO(as_lines(requests))), purpose="batch", **more)
    return stored.id


def make(client: openai.OpenAI, requests: list[Any], **more: Any) -> SdkBatch:  # noqa: F811
    """A new batch of these lines."""
    return client.batches.create(
        input_file_id=upload(client, requests),
        endpoint=more.pop("endpoint", CHAT),
        completion_window="24h",
        **more,
    )


def in_the_end(client: openai.OpenAI, batch: SdkBatch, *, within: float = 30.0) -> SdkBatch:  # noqa: F811
    """The batch once it is over."""
    deadline = time.monotonic() + within
    while (found := client.batches.retrieve(batch.id)).status in {
        "validating",
        "in_progress",
        "finalizing",
        "cancelling",
    }:
        assert time.monotonic() < deadline, f"still {found.status} with {found.request_counts}"
        time.sleep(0.05)
    return found


def lines_of(client: openai.OpenAI, file_id: str | None) -> dict[str, dict[str, Any]]:  # noqa: F811
    """The lines of a file by their custom ids, each of which is there once; none without a file."""
    if file_id is None:
        return {}
    found = [json.loads(text) for text in client.files.content(file_id).read().splitlines()]
    by_id = {entry["custom_id"]: entry for entry in found}
    assert len(by_id) == len(found)
    return by_id


def parts_written(batch: SdkBatch) -> int:
    return sum(
        len(numbers) for numbers in BatchPart.objects.filter(batch__public_id=batch.id).values_list("lines", flat=True)
    )


def send_now() -> int:
    """Sweep, as if half a minute had passed."""
    Batch.objects.update(sent_at="2026-01-01T00:00Z")
    return progress.send_again()

"""Models that go: answers announce the day, and from that day on the refusal says what to use instead."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import openai
import pytest

from catalog.models import HostedModel
from common.moments import today
from tests.gateway.conftest import Host, Reply, ask, chat

DAY = timedelta(days=1)


def complete(url: str, secret: str, model: str, **fields: Any) -> Reply:
    body = {"model": model, "messages": chat(), "max_tokens": 1, **fields}
    return ask(url, "/chat/completions", secret=secret, body=body)


@pytest.mark.parametrize("streams", [False, True])
def test_it_works(url: str, secret: str, host: Host, streams: bool) -> None:
    since, until = today() - DAY, today() + DAY
    model = host({}, deprecated_on=since, retires_on=until)
    reply = complete(url, secret, model, stream=streams)
    assert reply.status == 200
    begin = int(datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp())
    assert reply.headers["deprecation"] == f"@{begin}"
    assert reply.headers["sunset"].endswith(" 00:00:00 GMT")
    assert parsedate_to_datetime(reply.headers["sunset"]).date() == until
    described = ask(url, f"/models/{model}", method="GET", secret=secret)
    assert described.headers["sunset"] == reply.headers["sunset"]


def test_a_model_that_stays_says_nothing(url: str, secret: str) -> None:
    reply = complete(url, secret, "fake-chat")
    assert not {"deprecation", "sunset"} & {name.lower() for name in reply.headers}


def test_a_model_that_retired_names_its_successor(client: openai.OpenAI, url: str, secret: str, host: Host) -> None:
    successor = HostedModel.objects.get(public_name="fake-chat")
    model = host({}, retires_on=today(), successor=successor)
    for reply in (complete(url, secret, model), ask(url, f"/models/{model}", method="GET", secret=secret)):
        assert (reply.status, reply.error["code"]) == (404, "model_not_found")
        assert reply.error["message"] == f"The model `{model}` was retired on {today()} (UTC). Use `fake-chat` instead."
    assert model not in [listed.id for listed in client.models.list()]


def test_a_model_that_retired_without_one_says_where_to_look(url: str, secret: str, host: Host) -> None:
    reply = complete(url, secret, host({"is_enabled": False}, retires_on=today() - DAY))
    assert reply.status == 404
    assert "`GET /v1/models` lists" in reply.error["message"]


def test_a_model_that_retired_stands_in_for_none(url: str, secret: str, host: Host) -> None:
    gone = HostedModel.objects.get(public_name=host({}, retires_on=today()))
    assert complete(url, secret, host({"is_enabled": False}, fallback=gone)).status == 503

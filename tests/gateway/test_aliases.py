"""Another name for a model: calls by it go to the model, which answers under its own."""

from collections.abc import Callable, Iterator

import openai
import pytest

from catalog.models import HostedModel, ModelAlias
from common.ids import new_id
from tests.gateway.conftest import Stage, ask, chat, wait_for, wait_until_known
from usage.models import UsageEvent

Mint = Callable[..., str]


@pytest.fixture
def alias(stage: Stage, url: str, secret: str) -> Iterator[str]:
    """Another name of the model `fake-chat`, with a slash in it."""
    name = f"elsewhere/{new_id('alias')}"
    row = ModelAlias.objects.create(name=name, hosted_model=HostedModel.objects.get(public_name="fake-chat"))
    wait_until_known(url, secret, name)
    yield name
    row.delete()


def body(name: str) -> dict[str, object]:
    return {"model": name, "messages": chat(), "max_tokens": 1}


def test_it_works(client: openai.OpenAI, alias: str, event_of: Callable[[str], UsageEvent]) -> None:
    reply = client.chat.completions.with_raw_response.create(model=alias, messages=chat(), max_tokens=1)
    assert reply.parse().model == "fake-chat"
    event = event_of(reply.headers["x-request-id"])
    assert (event.model, event.asked_model) == ("fake-chat", alias)
    with client.chat.completions.create(model=alias, messages=chat(), max_tokens=1, stream=True) as stream:
        assert {chunk.model for chunk in stream} == {"fake-chat"}


def test_it_is_described_and_not_listed(client: openai.OpenAI, alias: str) -> None:
    assert client.models.retrieve(alias).id == "fake-chat"
    names = [model.id for model in client.models.list()]
    assert "fake-chat" in names
    assert alias not in names


def test_a_key_is_held_to_the_models_own_name(url: str, mint: Mint, alias: str) -> None:
    secret = mint(allowed_models=("fake-chat",))
    assert ask(url, "/chat/completions", secret=secret, body=body(alias)).status == 200
    assert ask(url, f"/models/{alias}", method="GET", secret=secret).status == 200
    for allowed in (alias, "fake-embed"):
        secret = mint(allowed_models=(allowed,))
        for reply in (
            ask(url, "/chat/completions", secret=secret, body=body(alias)),
            ask(url, f"/models/{alias}", method="GET", secret=secret),
        ):
            assert (reply.status, reply.error["code"]) == (403, "model_not_allowed")


def test_a_bound_key_does_not_learn_which_names_exist(url: str, mint: Mint, alias: str) -> None:
    secret = mint(allowed_models=("fake-embed",))
    told = [ask(url, "/chat/completions", secret=secret, body=body(name)) for name in (alias, "nobody", "fake-chat")]
    assert {(reply.status, reply.error["code"]) for reply in told} == {(403, "model_not_allowed")}


def test_a_name_that_is_taken_away_is_unknown(url: str, secret: str, stage: Stage) -> None:
    row = ModelAlias.objects.create(name="for-a-while", hosted_model=HostedModel.objects.get(public_name="fake-chat"))
    wait_until_known(url, secret, "for-a-while")
    assert ask(url, "/chat/completions", secret=secret, body=body("for-a-while")).status == 200
    row.delete()
    wait_for(lambda: ask(url, "/chat/completions", secret=secret, body=body("for-a-while")).status == 404)


def test_a_models_own_name_goes_first(client: openai.OpenAI, stage: Stage) -> None:
    row = ModelAlias.objects.create(name="fake-embed", hosted_model=HostedModel.objects.get(public_name="fake-chat"))
    assert client.models.retrieve("fake-embed").id == "fake-embed"
    row.delete()

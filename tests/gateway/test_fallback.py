"""A model whose servers cannot answer is stood in for by another, which is the one that is named and paid for."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import openai
import pytest
from django.conf import LazySettings

from accounts.models import Plan
from accounts.plans.services import assign_plan, make_plan
from catalog.models import Backend, HostedModel
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import MILLION, Asked, Host, Reply, Stage, ask, chat, wait_for
from usage.ingest import drain
from usage.models import UsageEvent

Servers = list[FakeInferenceServer]
Mint = Callable[..., str]
BUSY = {"status": 503}


@pytest.fixture
def spare(host: Host, servers: Servers) -> HostedModel:
    """A model with a price, on the second server."""
    name = host({"base_url": servers[1].base_url}, input_price_nano=MILLION, output_price_nano=10 * MILLION)
    return HostedModel.objects.get(public_name=name)


@pytest.fixture
def model(host: Host, servers: Servers, spare: HostedModel) -> str:
    """A free model on the first server, which takes no calls; `spare` stands in for it."""
    name = host({}, fallback=spare)
    servers[0].scripts[name] = BUSY
    return name


def complete(url: str, secret: str, model: str, **fields: Any) -> Reply:
    body = {"model": model, "messages": chat(), "max_tokens": 2, **fields}
    return ask(url, "/chat/completions", secret=secret, body=body)


def events_of(reply: Reply) -> list[tuple[str, int, int]]:
    """Model, status and cost of every entry that the ledger has for a request."""
    entries = UsageEvent.objects.filter(request_id=reply.headers["x-request-id"])
    wait_for(lambda: drain() >= 0 and entries.exists())
    return list(entries.values_list("model", "status", "cost_nano"))


def test_it_works(url: str, secret: str, model: str, spare: HostedModel, asked: Asked) -> None:
    reply = complete(url, secret, model)
    assert (reply.status, reply.json["model"]) == (200, spare.public_name)
    assert asked() == [1, 1, 0]
    # Three tokens in at 1, two out at 10.
    assert events_of(reply) == [(spare.public_name, 200, 23)]
    entry = UsageEvent.objects.get(request_id=reply.headers["x-request-id"])
    assert entry.backend == spare.deployments.get().backend.name
    assert (entry.asked_model, entry.failovers, entry.retries) == (model, 1, 0)


@pytest.fixture
def put(stage: Stage) -> Iterator[Callable[..., None]]:
    """Puts the organization on a plan: `put(allowed_models=["qwen"])`."""
    organization = stage.project.organization

    def on(**values: Any) -> None:
        plan = make_plan(changes={"name": "Starter", **values}, by=stage.ada)
        assign_plan(organization=organization, plan=plan, by=stage.ada)

    yield on
    assign_plan(organization=organization, plan=None, by=stage.ada)
    Plan.objects.all().delete()


def test_what_the_spare_costs_in_the_plan_is_charged(
    url: str, secret: str, model: str, spare: HostedModel, put: Callable[..., None]
) -> None:
    put(prices={model: [9 * MILLION, 9 * MILLION], spare.public_name: [0, 5 * MILLION]})
    assert events_of(complete(url, secret, model)) == [(spare.public_name, 200, 10)]


def test_a_spare_outside_the_plan_does_not_stand_in(
    url: str, secret: str, model: str, put: Callable[..., None], asked: Asked
) -> None:
    put(allowed_models=[model])
    assert complete(url, secret, model).status == 503
    assert asked() == [1, 0, 0]


def test_a_stream(client: openai.OpenAI, model: str, spare: HostedModel) -> None:
    with closing(client.chat.completions.create(model=model, messages=chat(), max_tokens=2, stream=True)) as stream:
        assert {chunk.model for chunk in stream} == {spare.public_name}


def test_servers_that_are_known_to_be_broken_are_not_asked_first(
    url: str, secret: str, model: str, asked: Asked
) -> None:
    for _number in range(3):
        assert complete(url, secret, model).status == 200
    assert asked() == [1, 3, 0]


def test_a_model_with_no_backend_in_service(url: str, secret: str, model: str, spare: HostedModel) -> None:
    backend = Backend.objects.get(name=f"{model}-0")
    backend.is_enabled = False
    backend.save()
    wait_for(lambda: HostedModel.objects.offered().filter(public_name=model).count() == 0)
    for _number in range(5):
        reply = complete(url, secret, model)
        assert (reply.status, reply.json["model"]) == (200, spare.public_name)


def test_slots_that_stay_taken(
    client: openai.OpenAI, url: str, secret: str, host: Host, spare: HostedModel, settings: LazySettings
) -> None:
    settings.GATEWAY_SLOT_WAIT_SECONDS = 0
    name = host({"most_in_flight": 1}, fallback=spare)
    told = {"fake": {"tokens": 10_000, "rate": 50}}
    with closing(client.chat.completions.create(model=name, messages=chat(), stream=True, extra_body=told)):
        assert complete(url, secret, name).json["model"] == spare.public_name


def test_a_call_that_a_server_was_at_work_on_is_handed_to_nobody(
    url: str, secret: str, model: str, servers: Servers, asked: Asked
) -> None:
    servers[0].scripts[model] = {"status": 500}
    reply = complete(url, secret, model)
    assert reply.status == 502
    assert asked() == [1, 0, 0]
    assert events_of(reply) == [(model, 502, 0)]


def test_a_key_that_may_not_use_the_other(url: str, mint: Mint, model: str, spare: HostedModel, asked: Asked) -> None:
    reply = complete(url, mint(allowed_models=(model,)), model)
    assert (reply.status, asked()) == (503, [1, 0, 0])
    assert events_of(reply) == [(model, 503, 0)]
    both = mint(allowed_models=(model, spare.public_name))
    assert complete(url, both, model).status == 200


def test_a_budget_pays_for_the_other(url: str, mint: Mint, model: str, spare: HostedModel) -> None:
    reply = complete(url, mint(monthly_budget_nano=MILLION), model)
    assert events_of(reply) == [(spare.public_name, 200, 23)]


def test_what_the_other_may_cost_is_what_bounds_it(
    url: str, mint: Mint, host: Host, servers: Servers, spare: HostedModel
) -> None:
    name = host({}, fallback=spare, max_output_tokens=1, input_price_nano=MILLION, output_price_nano=MILLION)
    servers[0].scripts[name] = BUSY
    reply = complete(url, mint(monthly_budget_nano=MILLION), name, max_tokens=None, fake={"tokens": 200})
    # Three tokens in at 1, and far more out, at 10, than the first may write.
    assert events_of(reply) == [(spare.public_name, 200, 2003)]


def test_a_budget_that_does_not_cover_the_other(url: str, mint: Mint, model: str, asked: Asked) -> None:
    secret = mint(monthly_budget_nano=1, concurrent_requests=1)
    for _number in range(3):
        reply = complete(url, secret, model)
        assert events_of(reply) == [(model, 503, 0)]
    assert asked()[1] == 0


def test_a_key_with_one_call_at_a_time(url: str, mint: Mint, model: str) -> None:
    secret = mint(concurrent_requests=1)
    assert [complete(url, secret, model).status for _number in range(3)] == [200] * 3


def test_models_that_fall_back_on_each_other(
    url: str, secret: str, model: str, spare: HostedModel, servers: Servers
) -> None:
    servers[1].scripts[spare.public_name] = BUSY
    spare.fallback = HostedModel.objects.get(public_name=model)
    spare.save()
    assert complete(url, secret, model).status == 503


def test_another_use(url: str, secret: str, host: Host, servers: Servers) -> None:
    embeds = HostedModel.objects.get(public_name=host({"base_url": servers[1].base_url}, uses=["embeddings"]))
    name = host({}, fallback=embeds)
    servers[0].scripts[name] = BUSY
    assert complete(url, secret, name).status == 503

"""What the operators' page tells of real calls: who made them, which server took them, what runs now."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import openai
import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from catalog.models import Backend, Deployment, HostedModel
from tests.conftest import client_of, person
from tests.gateway.conftest import Stage, ask, chat, wait_for
from usage.ingest import drain
from usage.installation import Span, overview, time_of
from usage.models import UsageEvent


@pytest.fixture(scope="module")
def guarded(stage: Stage, django_db_blocker: Any) -> str:
    """A model whose first server is gone, so that the second takes over."""
    with django_db_blocker.unblock():
        model = HostedModel.objects.create(public_name="guarded")
        for priority, name in enumerate(("gw-dead", "gw-fake")):
            backend = Backend.objects.get(name=name)
            Deployment.objects.create(
                hosted_model=model, backend=backend, backend_name="guarded", priority=priority, most_in_flight=4
            )
    return model.public_name


@pytest.fixture
def operator(guarded: str) -> Iterator[Client]:
    sam = person("Sam", is_staff=True)
    yield client_of(sam)
    User.objects.filter(pk=sam.pk).delete()


def refused() -> int:
    """The calls of this hour and the one before that no server was asked for, be it in other tests."""
    drain()
    hour = time_of(Span.HOUR, now=timezone.now())
    return sum(one.sums.requests for one in overview(hour).servers if not one.backend)


def test_it_works(
    operator: Client,
    guarded: str,
    client: openai.OpenAI,
    url: str,
    secret: str,
    stage: Stage,
    event_of: Callable[[str], UsageEvent],
) -> None:
    before = refused()
    for body in (
        {"model": guarded, "messages": chat(), "max_tokens": 3},
        {"model": "fake-chat", "messages": chat(), "fake": {"status": 500}},
        {"model": "fake-chat", "messages": chat(), "prompt_embeds": "x"},
    ):
        event_of(ask(url, "/chat/completions", secret=secret, body=body).headers["x-request-id"])
    told = {"fake": {"tokens": 10_000, "rate": 50}}
    with closing(client.chat.completions.create(model=guarded, messages=chat(), stream=True, extra_body=told)):

        def under_way() -> dict[tuple[str, str], tuple[int, int | None]]:
            places = operator.get("/operations/now/").context["now"].places
            return {
                (place.deployment.hosted_model.public_name, place.deployment.backend.name): (
                    place.in_flight, place.slots,
                )
                for place in places
            }  # fmt: skip

        # What a process of another test said before it was killed is believed for 15 seconds.
        wait_for(lambda: under_way()[guarded, "gw-fake"] == (1, 4), seconds=30)
        page = operator.get("/operations/", {"span": "1h"})
    body_text = page.content.decode()
    assert "Passed over by 1 of 1" in body_text
    assert stage.project.organization.public_id in body_text
    servers = {(one.backend, one.model): one for one in page.context["overview"].servers}
    taken = servers["gw-fake", guarded]
    assert (taken.sums.requests, taken.sums.errors, taken.taken_over, taken.sums.completion_tokens) == (1, 0, 1, 3)
    assert servers["gw-fake", "fake-chat"].sums.errors == 1
    assert servers["", ""].sums.requests - before == 1
    organization = stage.project.organization.public_id
    assert [row.sums.requests for row in page.context["organizations"] if row.id == organization] == [3]
    wait_for(lambda: under_way()[guarded, "gw-fake"] == (0, 4), seconds=30)

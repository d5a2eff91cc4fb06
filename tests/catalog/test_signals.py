from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from django.conf import LazySettings
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks

from catalog.models import Backend, Deployment, HostedModel
from catalog.services import connect_backend
from catalog.signals import CHANNEL
from common import redis
from tests.catalog.servers import Server, vllm
from tests.fakes.ports import refusing_port

Announced = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def announced(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> Announced:
    """A block in which the catalog changes, and at whose end that was announced."""

    @contextmanager
    def check() -> Iterator[None]:
        with redis.durable().pubsub(ignore_subscribe_messages=True) as listener:  # type: ignore[no-untyped-call]
            listener.subscribe(CHANNEL)
            listener.get_message(timeout=10)
            with django_capture_on_commit_callbacks(execute=True):
                yield
            assert listener.get_message(timeout=10)["channel"] == CHANNEL

    return check


def test_it_works(hosted_model: HostedModel, announced: Announced) -> None:
    with announced():
        hosted_model.save()


@pytest.mark.parametrize("model", [Backend, Deployment, HostedModel])
def test_a_row_that_is_deleted(
    model: type[Backend | Deployment | HostedModel], hosted_model: HostedModel, announced: Announced
) -> None:
    with announced():
        model._default_manager.get().delete()


@pytest.mark.django_db
def test_connecting_a_backend(serve: Callable[..., Server], announced: Announced) -> None:
    with announced():
        connect_backend(name="gpu-1", base_url=serve(vllm("a")).url)


def test_an_act_of_the_admin(hosted_model: HostedModel, sam_client: Client, announced: Announced) -> None:
    with announced():
        sam_client.post("/admin/catalog/hostedmodel/", {"action": "hide", "_selected_action": [str(hosted_model.pk)]})
    assert not HostedModel.objects.get().is_visible


def test_with_redis_away_nothing_is_lost_but_the_message(
    hosted_model: HostedModel,
    settings: LazySettings,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with refusing_port() as port:
        settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
        redis.durable.cache_clear()
        try:
            with django_capture_on_commit_callbacks(execute=True):
                hosted_model.description = "New."
                hosted_model.save()
        finally:
            redis.durable.cache_clear()
    assert HostedModel.objects.get().description == "New."

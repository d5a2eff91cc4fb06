import threading
from collections.abc import Callable

import pytest
from django.db import connection

from catalog.discovery import DiscoveryError
from catalog.models import Backend, BackendKind, Deployment, Fault, HostedModel
from catalog.services import (
    Connected,
    ReservedNameError,
    connect_backend,
    edit_model,
    rediscover_backend,
    remove_backend,
    set_deployment_enabled,
)
from tests.catalog.servers import Server, openai, vllm

pytestmark = pytest.mark.django_db
Serve = Callable[..., Server]


def test_it_works(serve: Serve) -> None:
    server = serve(vllm("Qwen/Qwen3-8B"), key="sk-1")
    connected = connect_backend(name="gpu-1", base_url=server.url, credential="sk-1")
    backend = Backend.objects.get()
    assert (backend.name, backend.base_url, backend.kind) == ("gpu-1", server.base_url, BackendKind.VLLM)
    assert (backend.credential, backend.is_healthy) == ("sk-1", True)
    model = HostedModel.objects.offered().get()
    assert (model.public_name, model.context_window, model.is_free) == ("Qwen/Qwen3-8B", 32768, True)
    assert (connected.is_new, connected.added, connected.vanished) == (True, ("Qwen/Qwen3-8B",), ())


def test_the_credential_is_encrypted(serve: Serve) -> None:
    connect_backend(name="gpu-1", base_url=serve(openai("a"), key="sk-secret").url, credential="sk-secret")
    with connection.cursor() as cursor:
        cursor.execute("SELECT credential FROM catalog_backend")
        assert "sk-secret" not in cursor.fetchone()[0]


def test_the_same_name_updates(serve: Serve) -> None:
    connect_backend(name="gpu-1", base_url=serve(openai("a")).url)
    server = serve(vllm("b"), key="sk-2")
    connected = connect_backend(name="gpu-1", base_url=server.url, credential="sk-2")
    backend = Backend.objects.get()
    assert (backend.base_url, backend.kind, backend.credential) == (server.base_url, BackendKind.VLLM, "sk-2")
    assert (connected.is_new, connected.added, connected.vanished) == (False, ("b",), ("a",))
    assert [model.public_name for model in HostedModel.objects.offered()] == ["b"]


def test_a_model_hosted_already_gains_a_deployment(serve: Serve) -> None:
    connect_backend(name="gpu-1", base_url=serve(vllm("a", "b")).url)
    connected = connect_backend(name="gpu-2", base_url=serve(vllm("a")).url)
    assert connected.added == ()
    assert Deployment.objects.serving().filter(hosted_model__public_name="a").count() == 2
    assert HostedModel.objects.count() == 2


def test_a_model_that_vanished_comes_back(serve: Serve) -> None:
    server = serve(openai("a", "b"))
    backend = connect_backend(name="gpu-1", base_url=server.url).backend
    server.answers = openai("a")
    assert rediscover_backend(backend=backend).vanished == ("b",)
    assert Deployment.objects.get(backend_name="b").vanished_at
    assert rediscover_backend(backend=backend).vanished == ()
    server.answers = openai("a", "b")
    rediscover_backend(backend=backend)
    assert HostedModel.objects.offered().count() == 2


def test_what_staff_turned_off_stays_off(serve: Serve) -> None:
    backend = connect_backend(name="gpu-1", base_url=serve(openai("a")).url).backend
    set_deployment_enabled(deployment=Deployment.objects.get(), is_enabled=False, by=None)
    rediscover_backend(backend=backend)
    assert not HostedModel.objects.offered().exists()


def test_a_context_window_follows_the_servers(serve: Serve) -> None:
    first = serve(vllm("a", context_window=32768))
    backend = connect_backend(name="gpu-1", base_url=first.url).backend
    connect_backend(name="gpu-2", base_url=serve(vllm("a", context_window=16384)).url)
    assert HostedModel.objects.get().context_window == 16384
    first.answers = vllm("a", context_window=8192)
    rediscover_backend(backend=backend)
    assert HostedModel.objects.get().context_window == 8192


def test_what_staff_wrote_about_a_model_stays(serve: Serve) -> None:
    backend = connect_backend(name="gpu-1", base_url=serve(vllm("a")).url).backend
    edit_model(
        by=None,
        hosted_model=HostedModel.objects.get(),
        description="Ours.",
        input_price_nano=1,
        output_price_nano=2,
        context_window=2000,
        max_output_tokens=None,
        uses=["chat"],
        is_visible=False,
        aliases=[],
        fallback=None,
        deprecated_on=None,
        retires_on=None,
        successor=None,
    )
    rediscover_backend(backend=backend)
    model = HostedModel.objects.get()
    assert (model.description, model.input_price_nano, model.context_window) == ("Ours.", 1, 2000)
    assert not model.is_visible


def test_no_credential_keeps_the_stored_one_at_the_same_server(serve: Serve) -> None:
    server = serve(openai("a"), key="sk-1")
    connect_backend(name="gpu-1", base_url=server.url, credential="sk-1")
    connect_backend(name="gpu-1", base_url=server.base_url)
    assert Backend.objects.get().credential == "sk-1"


def test_the_stored_credential_is_not_sent_to_another_server(serve: Serve) -> None:
    connect_backend(name="gpu-1", base_url=serve(openai("a"), key="sk-1").url, credential="sk-1")
    elsewhere = serve(openai("a"))
    connect_backend(name="gpu-1", base_url=elsewhere.url)
    assert {asked.credential for asked in elsewhere.asked} == {""}
    assert Backend.objects.get().credential == ""


def test_a_server_that_cannot_be_used_changes_nothing(serve: Serve) -> None:
    backend = connect_backend(name="gpu-1", base_url=serve(openai("a")).url).backend
    with pytest.raises(DiscoveryError) as caught:
        connect_backend(name="gpu-1", base_url="http://127.0.0.1:9")
    assert caught.value.fault == Fault.REFUSED
    assert Backend.objects.get().base_url == backend.base_url
    with pytest.raises(DiscoveryError):
        connect_backend(name="gpu-2", base_url=serve(openai("a"), key="sk-1").url, credential="sk-2")
    assert Backend.objects.count() == 1


@pytest.mark.parametrize("name", ["embedded", "connect", "models", "check"])
def test_names_of_our_own(name: str) -> None:
    with pytest.raises(ReservedNameError):
        connect_backend(name=name, base_url="http://127.0.0.1:9")


def test_removing_takes_the_models_that_ran_nowhere_else(serve: Serve) -> None:
    first = connect_backend(name="gpu-1", base_url=serve(openai("a", "b")).url).backend
    connect_backend(name="gpu-2", base_url=serve(openai("a")).url)
    remove_backend(backend=first, by=None)
    assert HostedModel.objects.get().public_name == "a"


def at_once(*calls: Callable[[], Connected]) -> list[Connected]:
    """What the calls return, made at the same moment in threads of their own."""
    results: list[Connected] = []
    together = threading.Barrier(len(calls))

    def make(call: Callable[[], Connected]) -> None:
        together.wait()
        try:
            results.append(call())
        finally:
            connection.close()

    threads = [threading.Thread(target=make, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.django_db(transaction=True)
def test_one_name_twice_at_once(serve: Serve) -> None:
    server = serve(vllm("a", "b", "c"))
    results = at_once(*[lambda: connect_backend(name="gpu-1", base_url=server.url)] * 4)
    assert len(results) == 4
    assert Backend.objects.count() == 1
    assert Deployment.objects.count() == HostedModel.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_two_backends_with_the_same_models_at_once(serve: Serve) -> None:
    server = serve(vllm(*"abcdefgh"))
    results = at_once(
        lambda: connect_backend(name="gpu-1", base_url=server.url),
        lambda: connect_backend(name="gpu-2", base_url=server.url),
    )
    assert len(results) == 2
    assert (HostedModel.objects.count(), Deployment.objects.count()) == (8, 16)

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from catalog.models import Backend, BackendKind, Deployment, HostedModel
from catalog.routing import Route, load
from inference.client import Timeouts


def test_it_works(hosted_model: HostedModel) -> None:
    model = load().models["Qwen/Qwen3-8B"]
    assert (model.input_price_nano, model.output_price_nano, model.context_window) == (50_000_000, 200_000_000, 32768)
    assert model.uses == {"chat"}
    assert model.created == int(hosted_model.created_at.timestamp())
    assert model.routes == (
        Route(
            id=Deployment.objects.get().pk,
            backend="gpu-1",
            base_url="http://127.0.0.1:9/v1",
            kind=BackendKind.VLLM,
            backend_name="Qwen/Qwen3-8B",
            is_healthy=True,
            priority=0,
            weight=1,
            most_in_flight=None,
            timeouts=Timeouts(connect=30, first_byte=60, idle=30, total=600),
            credential="sk-gpu-1-very-secret-7Kq2",
        ),
    )


@pytest.mark.django_db
def test_an_empty_catalog() -> None:
    assert load().models == {}


def test_one_query_however_many(hosted_model: HostedModel, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(20):
        backend = Backend.objects.create(name=f"more-{number}", base_url="http://127.0.0.1:9/v1", credential="x")
        other = HostedModel.objects.create(public_name=f"model-{number}")
        Deployment.objects.create(hosted_model=other, backend=backend, backend_name="a")
        Deployment.objects.create(hosted_model=hosted_model, backend=backend, backend_name="b")
    with django_assert_num_queries(1):
        table = load()
    assert len(table.models) == 21
    assert len(table.models["Qwen/Qwen3-8B"].routes) == 21


def test_a_time_out_of_its_own_counts_before_the_setting(hosted_model: HostedModel) -> None:
    Deployment.objects.update(idle_timeout_seconds=0.5)
    [route] = load().models["Qwen/Qwen3-8B"].routes
    assert route.timeouts == Timeouts(connect=30, first_byte=60, idle=0.5, total=600)


def test_hidden_models_are_left_out(hosted_model: HostedModel) -> None:
    HostedModel.objects.update(is_visible=False)
    assert load().models == {}


def test_what_is_off_is_left_out(hosted_model: HostedModel) -> None:
    Deployment.objects.update(is_enabled=False)
    assert load().models == {}
    Deployment.objects.update(is_enabled=True)
    Backend.objects.update(is_enabled=False)
    assert load().models == {}


def test_a_credential_that_no_longer_decrypts_disables_its_backend_alone(hosted_model: HostedModel) -> None:
    other = Backend.objects.create(name="gpu-2", base_url="http://127.0.0.1:9/v1")
    Deployment.objects.create(hosted_model=hosted_model, backend=other, backend_name="x")
    break_credential("gpu-1")
    assert [route.backend for route in load().models["Qwen/Qwen3-8B"].routes] == ["gpu-2"]
    other.delete()
    assert load().models["Qwen/Qwen3-8B"].routes == ()


def test_the_credential_is_in_no_repr(hosted_model: HostedModel) -> None:
    assert "sk-gpu-1" not in repr(load())


def break_credential(name: str) -> None:
    """As if FIELD_ENCRYPTION_KEYS had lost the key that this backend's credential was encrypted with."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE catalog_backend SET credential = 'gAAAAABnot-ours' WHERE name = %s", [name])

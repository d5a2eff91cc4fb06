from datetime import timedelta

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from catalog.models import Backend, Deployment, HostedModel
from common.moments import today
from tests.catalog.test_routing import break_credential


def test_it_works(client: Client, hosted_model: HostedModel) -> None:
    page = client.get("/models/")
    assert page.status_code == 200
    text = page.content.decode()
    for words in ("Qwen/Qwen3-8B", "Good at many things.", "$0.05 in", "$0.20 out", "Working"):
        assert words in text


@pytest.mark.django_db
def test_nothing_to_show_teaches(client: Client, sam_client: Client) -> None:
    assert "has not connected an inference server" in client.get("/models/").content.decode()
    assert "/backends/connect/" in sam_client.get("/models/").content.decode()


def test_zero_is_free(client: Client, hosted_model: HostedModel) -> None:
    HostedModel.objects.update(input_price_nano=0, output_price_nano=0)
    assert "Free" in client.get("/models/").content.decode()


def test_the_demonstration_model_says_so_and_comes_last(client: Client, hosted_model: HostedModel) -> None:
    demonstration = HostedModel.objects.create(public_name="a-first-by-name", is_demonstration=True)
    Deployment.objects.create(hosted_model=demonstration, backend=Backend.objects.get(), backend_name="demo")
    text = client.get("/models/").content.decode()
    assert text.index("Qwen/Qwen3-8B") < text.index("a-first-by-name")
    assert "Demonstration model" in text


def test_they_are_searched_and_sorted(client: Client, hosted_model: HostedModel) -> None:
    for name, price in (("a-large-one", 10**12), ("m-free-one", 0)):
        model = HostedModel.objects.create(public_name=name, output_price_nano=price)
        Deployment.objects.create(hosted_model=model, backend=Backend.objects.get(), backend_name=name)

    def shown(**query: str) -> list[str]:
        return [model.public_name for model in client.get("/models/", query).context["page"].items]

    assert shown() == ["a-large-one", "m-free-one", "Qwen/Qwen3-8B"]
    assert shown(sort="newest") == ["m-free-one", "a-large-one", "Qwen/Qwen3-8B"]
    assert shown(sort="price") == ["m-free-one", "Qwen/Qwen3-8B", "a-large-one"]
    assert shown(q="QWEN3") == shown(q="good at many") == ["Qwen/Qwen3-8B"]
    assert "No model found" in client.get("/models/", {"q": "nothing like it"}).content.decode()


@pytest.mark.parametrize(("is_healthy", "words"), [(None, "Not checked yet"), (False, "Not answering")])
def test_health_in_words(client: Client, hosted_model: HostedModel, is_healthy: bool | None, words: str) -> None:
    Backend.objects.update(is_healthy=is_healthy)
    assert words in client.get("/models/").content.decode()


def test_one_server_of_two_down(client: Client, hosted_model: HostedModel) -> None:
    other = Backend.objects.create(name="gpu-2", base_url="http://127.0.0.1:9/v1", is_healthy=False)
    Deployment.objects.create(hosted_model=hosted_model, backend=other, backend_name="x")
    assert "Partly working" in client.get("/models/").content.decode()


def test_four_queries_however_many(
    client: Client, hosted_model: HostedModel, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(10):
        other = HostedModel.objects.create(public_name=f"model-{number}")
        Deployment.objects.create(hosted_model=other, backend=Backend.objects.get(), backend_name=f"{number}")
    with django_assert_num_queries(4):  # models, deployments, backends, aliases
        client.get("/models/")


def test_a_model(client: Client, hosted_model: HostedModel) -> None:
    text = client.get("/models/Qwen/Qwen3-8B/").content.decode()
    for words in ("/v1/chat/completions", "$0.05 per million tokens", "?model=Qwen%2FQwen3-8B", "Working"):
        assert words in text


def test_a_model_for_embeddings(client: Client, hosted_model: HostedModel) -> None:
    HostedModel.objects.update(uses=["embeddings"])
    text = client.get("/models/Qwen/Qwen3-8B/").content.decode()
    assert "v1/embeddings" in text
    assert "chat/completions" not in text
    assert "?model=" not in text


def test_developers_do_not_see_where_it_runs(ada_client: Client, sam_client: Client, hosted_model: HostedModel) -> None:
    shown = ada_client.get("/models/Qwen/Qwen3-8B/").content.decode()
    assert "gpu-1" not in shown
    assert "127.0.0.1:9" not in shown
    assert "/backends/gpu-1/" in sam_client.get("/models/Qwen/Qwen3-8B/").content.decode()


@pytest.mark.parametrize("change", [{"is_visible": False}, {"public_name": "renamed"}])
def test_a_model_that_is_not_offered(client: Client, hosted_model: HostedModel, change: dict[str, object]) -> None:
    HostedModel.objects.update(**change)
    assert client.get("/models/Qwen/Qwen3-8B/").status_code == 404


def test_a_credential_that_no_longer_decrypts_breaks_no_page(client: Client, hosted_model: HostedModel) -> None:
    break_credential("gpu-1")
    assert client.get("/models/").status_code == 200
    assert client.get("/models/Qwen/Qwen3-8B/").status_code == 200


def test_a_model_that_will_go_says_so(client: Client, hosted_model: HostedModel) -> None:
    successor = HostedModel.objects.create(public_name="the-next")
    day = timedelta(days=1)
    HostedModel.objects.filter(pk=hosted_model.pk).update(
        deprecated_on=today() + day, retires_on=today() + 2 * day, successor=successor
    )
    text = client.get("/models/Qwen/Qwen3-8B/").content.decode()
    for words in ("This model will be deprecated on", "calls to it are refused", "/models/the-next/"):
        assert words in text
    assert "Deprecated" not in client.get("/models/").content.decode()
    HostedModel.objects.filter(pk=hosted_model.pk).update(deprecated_on=today())
    assert "This model is deprecated since" in client.get("/models/Qwen/Qwen3-8B/").content.decode()
    assert "Deprecated" in client.get("/models/").content.decode()
    [model] = client.get("/api/models/").json()["data"]
    assert (model["deprecated_on"], model["successor"]) == (str(today()), "the-next")


def test_a_model_that_retired_is_on_no_page(client: Client, hosted_model: HostedModel) -> None:
    HostedModel.objects.update(retires_on=today())
    assert client.get("/models/Qwen/Qwen3-8B/").status_code == 404
    assert "Qwen" not in client.get("/models/").content.decode()
    HostedModel.objects.update(retires_on=today() + timedelta(days=1))
    assert client.get("/models/Qwen/Qwen3-8B/").status_code == 200

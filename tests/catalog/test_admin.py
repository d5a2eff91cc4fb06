import pytest
from django.db.models import Model
from django.test import Client

from catalog.models import Backend, Deployment, HostedModel
from tests.catalog.test_routing import break_credential

MODELS: dict[str, type[Model]] = {"backend": Backend, "hostedmodel": HostedModel, "deployment": Deployment}
LISTS = list(MODELS)


@pytest.mark.parametrize("name", LISTS)
def test_it_works(sam_client: Client, hosted_model: HostedModel, name: str) -> None:
    page = sam_client.get(f"/admin/catalog/{name}/?q=Qwen")
    assert page.status_code == 200
    assert "1 " in page.content.decode()
    row = MODELS[name]._default_manager.get()
    assert sam_client.get(f"/admin/catalog/{name}/{row.pk}/change/").status_code == 200
    assert sam_client.get(f"/admin/catalog/{name}/add/").status_code == 403


@pytest.mark.parametrize("name", LISTS)
def test_the_credential_is_shown_nowhere(sam_client: Client, hosted_model: HostedModel, name: str) -> None:
    row = MODELS[name]._default_manager.get()
    for page in (f"/admin/catalog/{name}/", f"/admin/catalog/{name}/{row.pk}/change/"):
        text = sam_client.get(page).content.decode()
        assert "sk-gpu-1" not in text
        assert "gAAAA" not in text


@pytest.mark.parametrize("name", LISTS)
def test_a_credential_that_no_longer_decrypts_breaks_no_page(
    sam_client: Client, hosted_model: HostedModel, name: str
) -> None:
    break_credential("gpu-1")
    row = MODELS[name]._default_manager.get()
    assert sam_client.get(f"/admin/catalog/{name}/").status_code == 200
    assert sam_client.get(f"/admin/catalog/{name}/{row.pk}/change/").status_code == 200


def test_a_backend_is_saved_without_its_credential(sam_client: Client, hosted_model: HostedModel) -> None:
    backend = Backend.objects.get()
    sam_client.post(f"/admin/catalog/backend/{backend.pk}/change/", {"base_url": "http://elsewhere/v1"})
    backend = Backend.objects.get()
    assert (backend.is_enabled, backend.base_url) == (False, "http://127.0.0.1:9/v1")
    assert backend.credential == "sk-gpu-1-very-secret-7Kq2"


def act(client: Client, name: str, action: str) -> None:
    row = MODELS[name]._default_manager.get()
    client.post(f"/admin/catalog/{name}/", {"action": action, "_selected_action": [str(row.pk)]})


def test_acts_on_backends(sam_client: Client, hosted_model: HostedModel) -> None:
    act(sam_client, "backend", "disable")
    assert not Backend.objects.get().is_enabled
    act(sam_client, "backend", "enable")
    assert Backend.objects.get().is_enabled
    act(sam_client, "backend", "check_now")
    assert Backend.objects.get().is_healthy is False


def test_acts_on_models_and_deployments(sam_client: Client, hosted_model: HostedModel) -> None:
    act(sam_client, "hostedmodel", "hide")
    assert not HostedModel.objects.get().is_visible
    act(sam_client, "deployment", "disable")
    assert not Deployment.objects.get().is_enabled


def test_removing_a_backend_takes_the_models_that_ran_nowhere_else(
    sam_client: Client, hosted_model: HostedModel
) -> None:
    sam_client.post(f"/admin/catalog/backend/{Backend.objects.get().pk}/delete/", {"post": "yes"})
    assert not Backend.objects.exists()
    assert not HostedModel.objects.exists()


def test_strangers_stay_out(ada_client: Client, hosted_model: HostedModel) -> None:
    assert ada_client.get("/admin/catalog/backend/").status_code in {302, 404}

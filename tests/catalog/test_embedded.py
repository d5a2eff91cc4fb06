import pytest
from django.conf import LazySettings
from django.core.management import call_command

from catalog.models import Backend, Fault, HostedModel
from catalog.routing import load
from catalog.services import EMBEDDED_MODEL, connect_embedded, set_backend_enabled

pytestmark = pytest.mark.django_db


def start(settings: LazySettings, url: str = "http://127.0.0.1:18181/v1", key: str = "key-1") -> None:
    settings.EMBEDDED_MODEL_URL, settings.EMBEDDED_MODEL_KEY = url, key
    call_command("connect_embedded")


def test_it_works(settings: LazySettings) -> None:
    start(settings)
    model = HostedModel.objects.offered().get()
    assert (model.public_name, model.uses, model.is_demonstration) == (EMBEDDED_MODEL, ["chat", "embeddings"], True)
    assert "demonstration" in model.about
    [route] = load().models[EMBEDDED_MODEL].routes
    assert (route.base_url, route.credential) == ("http://127.0.0.1:18181/v1", "key-1")


def test_each_start_has_its_own_address(settings: LazySettings) -> None:
    start(settings)
    Backend.objects.update(is_healthy=False, fault=Fault.REFUSED)
    start(settings, "http://127.0.0.1:19191/v1", "key-2")
    [route] = load().models[EMBEDDED_MODEL].routes
    assert (route.base_url, route.credential) == ("http://127.0.0.1:19191/v1", "key-2")
    assert HostedModel.objects.count() == 1
    assert Backend.objects.get().is_healthy is None


def test_without_one_it_is_offered_no_longer(settings: LazySettings) -> None:
    start(settings, url="")
    assert not Backend.objects.exists()
    start(settings)
    start(settings, url="")
    assert load().models == {}
    assert not Backend.objects.enabled().exists()
    start(settings)
    assert list(load().models) == [EMBEDDED_MODEL]


def test_staff_may_turn_it_off_for_good(settings: LazySettings) -> None:
    start(settings)
    set_backend_enabled(backend=Backend.objects.get(), is_enabled=False)
    start(settings)
    assert load().models == {}


def test_what_staff_wrote_about_it_stays(settings: LazySettings) -> None:
    start(settings)
    HostedModel.objects.update(description="Ours.")
    start(settings)
    assert HostedModel.objects.get().about == "Ours."


def test_a_model_of_that_name_elsewhere_gains_a_deployment(settings: LazySettings) -> None:
    HostedModel.objects.create(public_name=EMBEDDED_MODEL, description="On the big machine.")
    start(settings)
    assert HostedModel.objects.get().about == "On the big machine."
    assert connect_embedded() == Backend.objects.get()

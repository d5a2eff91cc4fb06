"""What a model has cost, and who set it."""

import pytest
from django.test import Client

from accounts.models import User
from catalog.holding import HOLDING
from catalog.models import HostedModel, ModelPrice
from catalog.services import remove_backend

pytestmark = pytest.mark.django_db

PAGE, STAFF_PAGE = "/models/Qwen/Qwen3-8B/", "/backends/models/Qwen/Qwen3-8B/"


def set_price(client: Client, input_price: str, output_price: str = "0.2", **fields: str) -> None:
    prices = {"input_price": input_price, "output_price": output_price}
    answer = client.post(STAFF_PAGE, {"uses": ["chat"], "is_visible": "on", **prices, **fields})
    assert answer.status_code == 302


def history() -> list[tuple[int, int, User | None]]:
    prices = ModelPrice.objects.history_of(HostedModel.objects.get())
    return [(price.input_price_nano, price.output_price_nano, price.set_by) for price in prices]


def test_it_works(client: Client, sam_client: Client, sam: User, hosted_model: HostedModel) -> None:
    set_price(sam_client, "0.06")
    set_price(sam_client, "0", "0")
    assert history() == [(0, 0, sam), (60_000_000, 200_000_000, sam), (50_000_000, 200_000_000, None)]
    first = ModelPrice.objects.earliest("pk")
    assert first.since == hosted_model.created_at
    for text in (client.get(PAGE).content.decode(), sam_client.get(STAFF_PAGE).content.decode()):
        assert "Prices" in text
        assert "$0.06" in text
    assert "Set by" in text


def test_developers_do_not_read_who_set_a_price(client: Client, sam_client: Client, hosted_model: HostedModel) -> None:
    set_price(sam_client, "0.06")
    text = client.get(PAGE).content.decode()
    assert "Set by" not in text
    assert "Sam" not in text


def test_a_price_that_never_changed_has_no_history(
    client: Client, sam_client: Client, hosted_model: HostedModel
) -> None:
    set_price(sam_client, "0.05", description="Better described.")
    assert history() == []
    assert "Prices" not in client.get(PAGE).content.decode()


def test_what_a_model_cost_stays_when_it_is_removed(sam_client: Client, sam: User, hosted_model: HostedModel) -> None:
    set_price(sam_client, "0.06")
    remove_backend(backend=hosted_model.deployments.get().backend, by=sam)
    assert not HostedModel.objects.exists()
    assert ModelPrice.objects.filter(model="Qwen/Qwen3-8B").count() == 2


def test_the_admin_changes_no_price_behind_the_history(
    sam_client: Client, sam: User, hosted_model: HostedModel
) -> None:
    User.objects.filter(pk=sam.pk).update(is_superuser=True)
    page = sam_client.get(f"/admin/catalog/hostedmodel/{hosted_model.pk}/change/").content.decode()
    assert 'name="description"' in page
    assert 'name="input_price_nano"' not in page
    assert 'name="output_price_nano"' not in page


def test_who_set_a_price_can_be_forgotten(sam_client: Client, sam: User, hosted_model: HostedModel) -> None:
    set_price(sam_client, "0.06")
    (document,) = HOLDING.export(sam)
    assert "60000000" in "".join(document.pieces)
    HOLDING.erase(sam)
    assert [who for _in, _out, who in history()] == [None, None]

from django.test import Client

from accounts.models import Project, User
from accounts.plans.services import assign_plan, make_plan
from catalog.models import HostedModel
from tests.catalog.test_routing import break_credential


def test_it_works(client: Client, hosted_model: HostedModel) -> None:
    [model] = client.get("/api/models/").json()["data"]
    assert model.pop("created_at")
    assert model == {
        "id": "Qwen/Qwen3-8B",
        "aliases": [],
        "description": "Good at many things.",
        "context_window": 32768,
        "max_output_tokens": None,
        "input_price_nano": 50_000_000,
        "output_price_nano": 200_000_000,
        "uses": ["chat"],
        "availability": "working",
        "deprecated_on": None,
        "retires_on": None,
        "successor": None,
        "is_demonstration": False,
        "is_in_plan": True,
    }


def test_models_outside_the_plan_of_the_reader_say_so(
    client: Client, ada_client: Client, project: Project, sam: User, hosted_model: HostedModel
) -> None:
    plan = make_plan(changes={"name": "Starter", "allowed_models": ["another"]}, by=sam)
    assign_plan(organization=project.organization, plan=plan, by=sam)
    told = [reader.get("/api/models/").json()["data"][0]["is_in_plan"] for reader in (ada_client, client)]
    assert told == [False, True]


def test_models_that_are_not_offered_are_left_out(client: Client, hosted_model: HostedModel) -> None:
    HostedModel.objects.update(is_visible=False)
    assert client.get("/api/models/").json()["data"] == []


def test_a_credential_that_no_longer_decrypts_breaks_nothing(client: Client, hosted_model: HostedModel) -> None:
    break_credential("gpu-1")
    assert client.get("/api/models/").status_code == 200

"""The REST API as a whole: its index, its schema, and how it refuses."""

import pytest
from django.core.management import call_command
from django.test import Client, RequestFactory
from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle

from accounts.models import Project
from apikeys.services import mint_key
from catalog.models import Backend, Deployment, HostedModel

pytestmark = pytest.mark.django_db


def test_it_works(client: Client) -> None:
    index = client.get("/api/").json()
    assert index["api-usage-summary"] == "http://testserver/api/usage/summary/"
    schema = client.get("/api/schema/", headers={"accept": "application/json"}).json()
    assert schema["openapi"].startswith("3.1")
    assert {"/api/keys/", "/api/models/", "/api/usage/calls/", "/api/usage/summary/"} <= schema["paths"].keys()


def test_the_schema_is_there_in_each_form_and_language(client: Client) -> None:
    for _time in range(2):
        written = client.get("/api/schema/")
        assert written["Content-Type"].startswith("application/vnd.oai.openapi")
        assert written.content.startswith(b"openapi: 3.1")
        chinese = client.get("/api/schema/", {"format": "json", "lang": "zh-hans"}).content
        english = client.get("/api/schema/", {"format": "json", "lang": "nonsense"}).content
        assert chinese != english


def test_what_a_caller_claims_is_no_address_of_theirs() -> None:
    request = RequestFactory().get("/api/", headers={"X-Forwarded-For": "192.0.2.1"}, REMOTE_ADDR="198.51.100.7")
    throttle = UserRateThrottle()
    assert throttle.get_ident(Request(request)) == "198.51.100.7"


def test_the_schema_is_valid_and_complete(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")
    assert "openapi: 3.1" in capsys.readouterr().out


def test_an_unknown_address_is_a_problem(client: Client) -> None:
    for address in ("/api/nothing", "/api/nothing/at/all/"):
        refusal = client.get(address)
        assert (refusal.status_code, refusal["Content-Type"]) == (404, "application/problem+json")


def test_a_wrong_method_is_a_problem(ada_client: Client) -> None:
    refusal = ada_client.delete("/api/keys/")
    assert (refusal.status_code, refusal["Content-Type"]) == (405, "application/problem+json")
    assert refusal["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_writing_needs_the_csrf_token(ada_client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = ada_client.cookies
    assert strict.post("/api/keys/").json()["code"] == "permission_denied"


def test_keys_are_listed_without_their_secrets(ada_client: Client, project: Project, cyd_client: Client) -> None:
    key, secret = mint_key(project=project, name="Laptop", by=project.organization.members.get())
    answer = ada_client.get("/api/keys/")
    assert [(row["id"], row["name"]) for row in answer.json()["data"]] == [(key.public_id, "Laptop")]
    assert secret not in answer.content.decode()
    assert key.secrets.get().digest not in answer.content.decode()
    assert cyd_client.get("/api/keys/").json()["data"] == []


def test_models_are_for_anybody_and_say_nothing_of_servers(client: Client) -> None:
    backend = Backend.objects.create(name="rack", base_url="http://10.0.0.7:8000/v1", credential="sk-internal-secret")
    offered = HostedModel.objects.create(public_name="small", input_price_nano=50)
    HostedModel.objects.create(public_name="undeployed")
    Deployment.objects.create(hosted_model=offered, backend=backend, backend_name="small")
    answer = client.get("/api/models/")
    assert [row["id"] for row in answer.json()["data"]] == ["small"]
    assert "10.0.0.7" not in answer.content.decode()


def test_json_in_too_many_brackets_is_a_problem(ada_client: Client) -> None:
    refusal = ada_client.post("/api/runs/", b"[" * 50_000 + b"]" * 50_000, content_type="application/json")
    assert (refusal.status_code, refusal.json()["code"]) == (400, "parse_error")

import pytest
from django.test import Client

from accounts.models import Project, User
from apikeys.services import mint_key
from catalog.models import Backend, Deployment, HostedModel

pytestmark = pytest.mark.django_db


@pytest.fixture
def model() -> HostedModel:
    hosted = HostedModel.objects.create(public_name="qwen3-8b")
    backend = Backend.objects.create(name="gpu-1", base_url="http://10.0.0.1:8000/v1")
    Deployment.objects.create(hosted_model=hosted, backend=backend, backend_name="qwen3-8b")
    return hosted


def test_it_works(client: Client, model: HostedModel) -> None:
    page = client.get("/").content.decode()
    assert "qwen3-8b" in page
    assert "/v1" in page


@pytest.mark.parametrize(
    "path", ["/", "/keys/", "/usage/", "/playground/", "/docs/", "/forum/", "/models/", "/quickstart/"]
)
def test_a_fresh_account_gets_every_page(path: str, ada_client: Client) -> None:
    assert ada_client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/keys/", "/usage/", "/playground/", "/quickstart/", "/settings/", "/notifications/"])
def test_a_visitor_is_sent_to_sign_in(path: str, client: Client) -> None:
    assert client.get(path).headers["Location"] == f"/accounts/login/?next={path}"


@pytest.mark.parametrize("path", ["/docs/", "/forum/", "/models/"])
def test_a_visitor_may_read(path: str, client: Client) -> None:
    assert client.get(path).status_code == 200


def test_every_page_searches_the_portal(client: Client, ada_client: Client) -> None:
    for reader in (client, ada_client):
        assert 'action="/search/"' in reader.get("/docs/").content.decode()


def test_the_quickstart_carries_this_portal_and_a_model(ada_client: Client, model: HostedModel) -> None:
    page = ada_client.get("/quickstart/").content.decode()
    assert "http://localhost:" in page
    assert "qwen3-8b" in page


def test_a_step_ticks_itself(ada: User, project: Project, ada_client: Client) -> None:
    before = ada_client.get("/quickstart/").context["steps"]
    mint_key(project=project, name="laptop", by=ada)
    after = ada_client.get("/quickstart/").context["steps"]
    assert (before["key"], after["key"]) == (False, True)


def test_without_a_model_it_says_so(ada_client: Client) -> None:
    assert "No model answers yet" in ada_client.get("/quickstart/").content.decode()


def test_a_theme_is_kept(client: Client) -> None:
    response = client.post("/theme/", {"theme": "dark", "next": "/docs/"})
    assert response.headers["Location"] == "/docs/"
    assert 'data-theme="dark"' in client.get("/docs/").content.decode()


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "javascript:alert(1)", "http://testserver/"]
)
def test_a_theme_leads_nowhere_else(client: Client, target: str) -> None:
    assert client.post("/theme/", {"theme": "dark", "next": target}).headers["Location"] == "/"


def test_every_page_has_a_strict_policy(client: Client) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy

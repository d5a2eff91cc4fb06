"""/metrics: who may read it, and what only a look can tell. What calls count in is in tests/gateway/test_metrics.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from catalog.models import Backend, Deployment, HostedModel
from common.redis import durable
from portal.health import application
from tests import services
from usage.events import DEAD_LETTERS, STREAM
from usage.spool import folder

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "a-token-of-the-tests-for-metrics"
NEAR, FAR = ("10.20.0.7", 40_000), ("10.21.0.7", 40_000)


@pytest.fixture(autouse=True)
def empty(settings: LazySettings, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path
    durable().flushdb()
    services.open_budgets()


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(application, client=NEAR) as made:
        yield made


def numbers(text: str) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def read(client: TestClient) -> dict[tuple[str, ...], float]:
    response = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    return numbers(response.text)


def test_it_works(client: TestClient, settings: LazySettings) -> None:
    settings.METRICS_TOKEN = TOKEN
    backend = Backend.objects.create(name="one", base_url="http://127.0.0.1:1/v1", is_healthy=True)
    unchecked = Backend.objects.create(name="new", base_url="http://127.0.0.1:2/v1")
    model = HostedModel.objects.create(public_name="small")
    # One of a model's two names at a server is one place more, and no second number of the same labels.
    for place, name in ((backend, "a"), (backend, "b"), (unchecked, "a")):
        Deployment.objects.create(hosted_model=model, backend=place, backend_name=name)
    durable().xadd(STREAM, {"e": "[]"}, id="1-0")
    durable().rpush(DEAD_LETTERS, "{}")
    folder().mkdir(parents=True)
    (folder() / "some.jsonl").write_bytes(b"12345")
    found = read(client)
    assert found["lyceum_part_up", "postgresql"] == found["lyceum_part_up", "redis"] == 1
    assert found["lyceum_part_up", "worker_usage"] == 0
    assert found["lyceum_deployment_healthy", "one", "small"] == 1
    assert ("lyceum_deployment_healthy", "new", "small") not in found
    assert found["lyceum_usage_stream_events",] == found["lyceum_usage_dead_letters",] == 1
    assert found["lyceum_usage_stream_age_seconds",] > 1_000_000
    assert found["lyceum_spool_bytes",] == 5


def test_it_is_closed_until_a_setting_opens_it(client: TestClient) -> None:
    assert client.get("/metrics", headers={"authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}é"]
)
def test_another_token_does_not_open_it(client: TestClient, settings: LazySettings, authorization: str) -> None:
    settings.METRICS_TOKEN = TOKEN
    response = client.get("/metrics", headers=[(b"authorization", authorization.encode())])
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert "lyceum_" not in response.text


def test_a_network_opens_it_without_a_token(settings: LazySettings, client: TestClient) -> None:
    settings.METRICS_NETWORKS = ["10.20.0.0/16"]
    assert client.get("/metrics").status_code == 200
    assert TestClient(application, client=FAR).get("/metrics").status_code == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_a_proxy_in_that_network_opens_it_to_nobody(client: TestClient, settings: LazySettings, header: str) -> None:
    """The public site comes from the proxy's address, and a visitor may claim any."""
    settings.METRICS_NETWORKS, settings.METRICS_TOKEN = ["10.20.0.0/16"], TOKEN
    headers = {header: "10.20.0.9"}
    assert client.get("/metrics", headers=headers).status_code == 401
    assert client.get("/metrics", headers={**headers, "authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_without_redis_its_numbers_are_missing_and_not_zero(settings: LazySettings) -> None:
    settings.METRICS_TOKEN = TOKEN
    with services.running_redis(durable=True) as (url, _server):
        settings.REDIS_URL = url
    with TestClient(application, client=NEAR) as client:
        found = read(client)
    assert found["lyceum_part_up", "redis"] == 0
    assert ("lyceum_usage_stream_events",) not in found
    assert ("lyceum_spool_bytes",) in found

"""No spelling of an address leads past the gateway's key, or from `/v1` into the pages."""

from collections.abc import Iterator

import pytest

from tests.gateway.conftest import Stage, ask, is_there, wait_for, web_process


@pytest.fixture(scope="module")
def portal(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The whole web process, in which the pages stand beside the gateway."""
    with web_process(tmp_path_factory.mktemp("var"), application="portal.asgi:application") as (url, _process):
        wait_for(lambda: is_there(url), seconds=60)
        yield url.removesuffix("/v1")


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/../keys/",
        "/v1/%2e%2e/keys/",
        "/v1/..%2fkeys/",
        "/v1/models/../../keys/",
        "/v1/models/..%2f..%2fadmin/",
        "/v1/./models",
        "/v1//models",
        "/v1/models/",
        "/v1/chat%2fcompletions",
        "/v1/chat/completions;x=1",
        "/v1/chat/completions%00",
        "/v1/organization/../../api/keys/",
        "/v1/%5c..%5ckeys/",
        "/%76%31/models",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_begins_with_v1_is_the_gateways(portal: str, path: str, method: str) -> None:
    reply = ask(portal, path, method=method, body={} if method == "POST" else None)
    assert reply.status in (400, 401, 404, 405)
    assert set(reply.json["error"]) == {"message", "type", "param", "code"}
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize("path", ["//v1/models", "/V1/models", "/./v1/models", "/x/../v1/models", "/v1%2fmodels"])
def test_what_does_not_is_no_way_to_a_model(portal: str, path: str) -> None:
    reply = ask(portal, path, method="GET")
    assert reply.status in (301, 302, 400, 401, 404)
    assert b"owned_by" not in reply.body


@pytest.mark.parametrize("host", ["evil.example", "localhost:8000@evil.example", "evil.example/v1", "127.0.0.1, evil"])
def test_a_host_is_no_key(portal: str, host: str) -> None:
    reply = ask(portal, "/v1/models", method="GET", headers={"Host": host, "X-Forwarded-Host": host})
    assert reply.status == 401
    assert host not in reply.body.decode()

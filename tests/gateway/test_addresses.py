"""No spelling of an address leads past the gateway's key, or from `/v1` into the pages."""

from collections.abc import Iterator

import pytest

from tests.gateway.conftest import START_SECONDS, Stage, ask, chat, is_there, wait_for, web_process


@pytest.fixture(scope="module")
def portal(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The whole web process, in which the pages stand beside the gateway."""
    with web_process(tmp_path_factory.mktemp("var"), application="portal.asgi:application") as (url, _process):
        wait_for(lambda: is_there(url), seconds=START_SECONDS)
        yield url.removesuffix("/v1")


@pytest.mark.parametrize(
    ("path", "method", "spelled"),
    [
        ("/v1/chat/completions", "POST", "/v1/chat%2fcompletions"),
        ("/v1/chat/completions", "POST", "/%76%31/chat/completions"),
        ("/v1/models", "GET", "/%76%31/models"),
        ("/v1/models", "GET", "/v1%2fmodels"),
    ],
)
def test_an_address_in_other_letters_asks_for_a_key(
    portal: str, secret: str, path: str, method: str, spelled: str
) -> None:
    body = {"model": "fake-chat", "messages": chat()} if method == "POST" else None
    for address in (path, spelled):
        assert ask(portal, address, method=method, body=body, secret=secret).status == 200
        assert ask(portal, address, method=method, body=body).status == 401


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
        "/v1/chat/completions/",
        "/v1/chat/completions;x=1",
        "/v1/chat/completions%00",
        "/v1/organization/../../api/keys/",
        "/v1/%5c..%5ckeys/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_begins_with_v1_is_the_gateways(portal: str, secret: str, path: str, method: str) -> None:
    body = {"model": "fake-chat", "messages": chat()} if method == "POST" else None
    reply = ask(portal, path, method=method, body=body, secret=secret)
    # A name of a model may have anything in it, and is only read.
    is_model = path.startswith("/v1/models/")
    assert reply.status == (405 if is_model and method == "POST" else 404)
    assert reply.error["type"] == "invalid_request_error"
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize("path", ["//v1/models", "/V1/models", "/./v1/models", "/x/../v1/models"])
def test_what_does_not_is_no_way_to_a_model(portal: str, secret: str, path: str) -> None:
    reply = ask(portal, path, method="GET", secret=secret)
    assert reply.status == 404
    assert reply.headers["content-type"].startswith("text/html"), "a page, and no answer of the gateway"
    assert b"owned_by" not in reply.body


@pytest.mark.parametrize("host", ["evil.example", "localhost:8000@evil.example", "evil.example/v1", "127.0.0.1, evil"])
def test_a_host_is_no_key(portal: str, host: str) -> None:
    reply = ask(portal, "/v1/models", method="GET", headers={"Host": host, "X-Forwarded-Host": host})
    assert reply.status == 401
    assert host not in reply.body.decode()

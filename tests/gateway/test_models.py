"""The list of models, one model, and embeddings."""

import openai
import pytest

from tests.gateway.conftest import ask


def test_it_works(client: openai.OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {"fake-chat", "fake-embed", "lab/slashed"} <= names
    model = client.models.retrieve("fake-chat")
    assert (model.object, model.owned_by) == ("model", "Lyceum")
    assert model.created > 1_700_000_000


@pytest.mark.parametrize("name", ["lab/slashed", "lab%2Fslashed"])
def test_a_name_may_have_a_slash(url: str, secret: str, name: str) -> None:
    assert ask(url, f"/models/{name}", method="GET", secret=secret).json["id"] == "lab/slashed"


def test_an_unknown_model(url: str, secret: str) -> None:
    reply = ask(url, "/models/nobody", method="GET", secret=secret)
    assert reply.status == 404
    assert reply.error["code"] == "model_not_found"


def test_the_list_is_for_those_with_a_key(url: str) -> None:
    assert ask(url, "/models", method="GET").status == 401


def test_embeddings(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="fake-embed", input=["one two", "three"])
    assert [len(item.embedding) for item in answer.data] == [2, 2], "asked for in base64, which the SDK decodes"
    assert answer.usage.prompt_tokens == 3
    floats = client.embeddings.create(model="fake-embed", input="one", encoding_format="float")
    assert floats.data[0].embedding == [1.0, 2.0]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "fake-embed"}, "input"),
        ({"model": "fake-embed", "input": ""}, "input"),
        ({"model": "fake-embed", "input": "x", "encoding_format": "int8"}, "encoding_format"),
        ({"model": "fake-embed", "input": "x", "stream": True}, "stream"),
        ({"model": "fake-chat", "input": "x"}, "model"),
    ],
)
def test_an_embedding_that_cannot_be(url: str, secret: str, body: dict[str, object], param: str) -> None:
    reply = ask(url, "/embeddings", secret=secret, body=body)
    assert (reply.status, reply.error["param"]) == (400, param)

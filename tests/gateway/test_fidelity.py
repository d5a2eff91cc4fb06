"""What a server streams reaches the client byte for byte, whatever it is and however the reads fall."""

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Reply, ask, chat

TEXTS = st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=30)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=32) | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
CALLS = st.fixed_dictionaries(
    {"index": st.integers(0, 3), "function": st.fixed_dictionaries({"name": st.none() | TEXTS, "arguments": TEXTS})}
)
DELTAS = st.fixed_dictionaries(
    {}, optional={"content": st.none() | TEXTS, "tool_calls": st.lists(CALLS, max_size=2), "a_new_field": VALUES}
)
CHUNKS = st.builds(
    lambda delta, logprobs, extra: {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "fake-chat",
        "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}],
        "service_tier": extra,
    },
    DELTAS,
    st.none() | st.fixed_dictionaries({"content": st.lists(VALUES, max_size=2)}),
    VALUES,
)


def stream(url: str, secret: str, chunks: list[Any], **told: Any) -> Reply:
    body = {"model": "fake-chat", "messages": chat(), "stream": True, "fake": {"chunks": chunks, **told}}
    return ask(url, "/chat/completions", secret=secret, body=orjson.dumps(body))


def frames(chunks: list[Any]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(CHUNKS, min_size=1, max_size=4), cut=st.integers(5, 90))
def test_it_works(url: str, secret: str, chunks: list[Any], cut: int) -> None:
    assert stream(url, secret, chunks, cut=cut).body == frames(chunks)


@pytest.mark.parametrize("text", ["word " * 400_000, "字" * 700_000], ids=["latin", "han"])
def test_a_line_of_megabytes(url: str, secret: str, text: str) -> None:
    chunk = {"id": "c1", "model": "fake-chat", "choices": [{"index": 0, "delta": {"content": text}}]}
    assert stream(url, secret, [chunk]).body == frames([chunk])


def test_what_a_client_sends_reaches_the_server_as_it_is(url: str, secret: str, fake: FakeInferenceServer) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    sent = {
        "messages": [
            {"role": "user", "content": "你好 \u0000 \U0001f600"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "42"},
        ],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "logprobs": True,
        "top_logprobs": 5,
        "seed": None,
        "something_new": {"a": [None, 1.5, "x"]},
    }
    ask(url, "/chat/completions", secret=secret, body={"model": "fake-chat", **sent})
    assert fake.last().body == {"model": "fake-chat", **sent}

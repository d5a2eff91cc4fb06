"""The endpoints beside chats and embeddings: what each client gets, what the server is sent, and what is metered."""

import http.client
import json
from collections.abc import Callable
from typing import Any, Literal

import openai
import pytest

from tests.fakes.apis import AUDIO, PICTURE
from tests.fakes.inference_server import FakeInferenceServer
from tests.gateway.conftest import Reply, ask, wait_for
from usage.ingest import drain
from usage.models import UsageEvent

EventOf = Callable[[str], UsageEvent]
WORDS = "one two three"
TOOL = {"name": "look_up", "parameters": {"type": "object", "properties": {"url": {"type": "string"}}}}
BODIES: dict[str, dict[str, Any]] = {
    "completions": {"prompt": WORDS, "max_tokens": 5},
    "responses": {"input": WORDS, "max_output_tokens": 5},
    "messages": {"messages": [{"role": "user", "content": WORDS}], "max_tokens": 5},
    "messages/count_tokens": {"messages": [{"role": "user", "content": WORDS}]},
    "moderations": {"input": WORDS},
    "rerank": {"query": "one", "documents": ["two", "three"]},
    "audio/speech": {"input": WORDS, "voice": "alloy"},
    "images/generations": {"prompt": WORDS, "n": 2},
}
WRITING = ["completions", "responses", "messages"]
OF_CHATS = [*WRITING, "messages/count_tokens"]


def call(url: str, secret: str, path: str, told: dict[str, Any] | None = None, **fields: Any) -> Reply:
    body = {"model": "fake-all", **BODIES[path], "fake": told or {}, **fields}
    return ask(url, f"/{path}", secret=secret, body=body)


def events(body: bytes) -> list[tuple[str, Any]]:
    """The kind and the data of each event of a stream of kinds."""
    found = []
    for frame in body.decode().removesuffix("\n\n").split("\n\n"):
        kind, data = frame.split("\n")
        found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_it_works(client: openai.OpenAI, fake: FakeInferenceServer, event_of: EventOf) -> None:
    text = client.completions.with_raw_response.create(model="fake-all", prompt=WORDS, max_tokens=5)
    assert text.parse().choices[0].text == "word " * 5
    judged = client.moderations.with_raw_response.create(model="fake-all", input=WORDS)
    assert not judged.parse().results[0].flagged
    answer = client.responses.with_raw_response.create(model="fake-all", input=WORDS, max_output_tokens=5)
    assert answer.parse().output_text == "word " * 5
    assert fake.last().body["store"] is False
    picture = client.images.with_raw_response.generate(model="fake-all", prompt=WORDS)
    assert [one.b64_json for one in picture.parse().data or []] == [PICTURE]
    assert fake.last().body["response_format"] == "b64_json"
    spoken = client.audio.speech.with_raw_response.create(model="fake-all", input=WORDS, voice="alloy")
    assert spoken.content == AUDIO
    assert spoken.headers["content-type"] == "audio/mpeg"

    # What servers count is the ledger's; where they do not, it is estimated.
    ids = {
        "completions": text.headers["x-request-id"],
        "moderations": judged.headers["x-request-id"],
        "responses": answer.headers["x-request-id"],
        "images/generations": picture.headers["x-request-id"],
        "audio/speech": spoken.headers["x-request-id"],
    }
    counted = {}
    for path, request_id in ids.items():
        event = event_of(request_id)
        assert (event.endpoint, event.status, event.backend) == (path, 200, "gw-fake")
        counted[path] = (event.prompt_tokens, event.completion_tokens, event.is_estimated)
    assert counted == {
        "completions": (3, 5, False),
        "responses": (3, 5, False),
        "moderations": (4, 0, True),
        "images/generations": (4, 0, True),
        "audio/speech": (4, 0, True),
    }


@pytest.mark.parametrize("path", ["completions", "responses", "messages", "moderations", "rerank"])
def test_the_name_at_the_backend_stays_inside(url: str, secret: str, fake: FakeInferenceServer, path: str) -> None:
    assert call(url, secret, path).json["model"] == "fake-all"
    assert fake.last().body["model"] == "inside/all"
    if path in WRITING:
        assert b"inside" not in call(url, secret, path, stream=True).body


def test_a_completion_is_streamed(client: openai.OpenAI, event_of: EventOf) -> None:
    reply = client.completions.with_raw_response.create(
        model="fake-all", prompt=WORDS, max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(reply.parse())
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "word " * 5
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (3, 5)
    assert event_of(reply.headers["x-request-id"]).completion_tokens == 5


def test_several_prompts_are_several_answers(url: str, mint: Callable[..., str]) -> None:
    reply = call(url, mint(tokens_per_minute=1000), "completions", prompt=["one", "two", "three"], max_tokens=300)
    assert len(reply.json["choices"]) == 3
    refused = call(url, mint(tokens_per_minute=800), "completions", prompt=["one", "two", "three"], max_tokens=300)
    assert refused.status == 429


def test_a_response_is_streamed(client: openai.OpenAI, event_of: EventOf) -> None:
    reply = client.responses.with_raw_response.create(model="fake-all", input=WORDS, max_output_tokens=5, stream=True)
    told = list(reply.parse())
    assert "".join(one.delta for one in told if one.type == "response.output_text.delta") == "word " * 5
    assert told[-1].type == "response.completed"
    assert told[-1].response.model == "fake-all"
    event = event_of(reply.headers["x-request-id"])
    assert (event.prompt_tokens, event.cached_tokens, event.completion_tokens) == (3, 1, 5)
    assert event.is_streamed
    assert not event.is_estimated


def test_a_message_is_counted_as_anthropic_counts(url: str, secret: str, event_of: EventOf) -> None:
    body = {"model": "fake-all", **BODIES["messages"]}
    reply = ask(url, "/messages", headers={"x-api-key": secret, "anthropic-version": "2023-06-01"}, body=body)
    assert reply.json["content"] == [{"type": "text", "text": "word " * 5}]
    event = event_of(reply.headers["x-request-id"])
    # What the server had read before comes on top of its input tokens.
    assert (event.prompt_tokens, event.cached_tokens, event.completion_tokens) == (5, 2, 5)
    streamed = call(url, secret, "messages", stream=True)
    told = events(streamed.body)
    assert [kind for kind, _data in told][:2] == ["message_start", "content_block_start"]
    assert told[-1] == ("message_stop", {"type": "message_stop"})
    assert all(kind == data["type"] for kind, data in told)
    event = event_of(streamed.headers["x-request-id"])
    assert (event.prompt_tokens, event.completion_tokens, event.is_estimated) == (3, 5, False)


def test_tokens_are_counted_beforehand_for_nothing(
    url: str, mint: Callable[..., str], fake: FakeInferenceServer, event_of: EventOf
) -> None:
    secret = mint(monthly_budget_nano=0, tokens_per_minute=1)
    reply = call(url, secret, "messages/count_tokens", model="paid-all", system="x " * 400_000)
    assert reply.json == {"input_tokens": 3}
    assert fake.last().body["model"] == "paid-all"
    event = event_of(reply.headers["x-request-id"])
    assert (event.endpoint, event.status) == ("messages/count_tokens", 200)
    assert (event.prompt_tokens, event.completion_tokens, event.cost_nano, event.is_estimated) == (0, 0, 0, False)
    # More than the model reads may be counted, and a request remains a request.
    long = [{"role": "user", "content": "y" * 300_000}]
    assert call(url, secret, "messages", model="llama-chat", messages=long).status == 400
    assert call(url, secret, "messages/count_tokens", model="llama-chat", messages=long).status == 200
    once = mint(requests_per_minute=1)
    assert [call(url, once, "messages/count_tokens").status for _time in range(2)] == [200, 429]
    refused = call(url, secret, "messages/count_tokens", tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert (refused.status, refused.json["type"]) == (400, "error")


def test_a_reranker_counts_all_it_reads(url: str, secret: str, event_of: EventOf) -> None:
    reply = call(url, secret, "rerank")
    assert [one["index"] for one in reply.json["results"]] == [0, 1]
    event = event_of(reply.headers["x-request-id"])
    assert (event.prompt_tokens, event.completion_tokens, event.is_estimated) == (3, 0, False)


@pytest.mark.parametrize("told", [{"die_after": 3}, {"error_after": 3}])
@pytest.mark.parametrize("path", ["responses", "messages"])
def test_a_stream_that_fails_ends_as_its_api_has_it(
    url: str, secret: str, event_of: EventOf, path: str, told: dict[str, int]
) -> None:
    reply = call(url, secret, path, told, stream=True)
    kind, error = events(reply.body)[-1]
    assert (kind, error["type"]) == ("error", "error")
    message = error["error"]["message"] if path == "messages" else error["message"]
    assert "10.0.0.7" not in message
    assert "tell the operator" in message
    if path == "responses":
        assert error["sequence_number"] == 6
    event = event_of(reply.headers["x-request-id"])
    assert (event.status, event.completion_tokens, event.is_estimated) == (502, 3, True)


@pytest.mark.parametrize("path", sorted(BODIES))
def test_a_server_without_the_endpoint_says_so(url: str, secret: str, path: str) -> None:
    reply = call(url, secret, path, {"status": 404, "body": {"detail": "Not Found"}})
    assert reply.status == 400
    assert f"does not offer /v1/{path}" in reply.json["error"]["message"]
    # And its chats go on.
    body = {"model": "fake-all", "messages": [{"role": "user", "content": "hi"}]}
    assert ask(url, "/chat/completions", secret=secret, body=body).status == 200


@pytest.mark.parametrize("path", sorted(set(BODIES) - set(OF_CHATS)))
def test_a_model_for_chats_is_not_asked_for_it(url: str, secret: str, path: str) -> None:
    error = call(url, secret, path, model="fake-chat").error
    assert (error["code"], error["param"]) == ("unsupported_model", "model")


def test_errors_of_messages_are_anthropics(url: str, secret: str) -> None:
    for reply, status, kind in (
        (call(url, "", "messages"), 401, "authentication_error"),
        (call(url, secret, "messages", model="nobody"), 404, "not_found_error"),
        (call(url, secret, "messages", max_tokens=None), 400, "invalid_request_error"),
        (call(url, secret, "messages", {"status": 503}), 503, "overloaded_error"),
        (call(url, secret, "messages", {"status": 500}), 502, "api_error"),
    ):
        assert reply.status == status
        assert reply.json["type"] == "error"
        assert reply.json["error"]["type"] == kind
        assert reply.json["error"]["message"]
        assert reply.headers["request-id"] == reply.headers["x-request-id"]


def test_a_field_of_another_endpoint_is_no_fault(url: str, secret: str) -> None:
    body = {"model": "fake-all", "messages": [{"role": "user", "content": "hi"}], "prompt": []}
    assert ask(url, "/chat/completions", secret=secret, body=body).status == 200


@pytest.mark.parametrize(("path", "limit"), [("responses", "max_output_tokens"), ("completions", "max_tokens")])
def test_a_budget_bounds_what_nobody_bounded(
    url: str, mint: Callable[..., str], fake: FakeInferenceServer, path: str, limit: str
) -> None:
    reply = call(url, mint(monthly_budget_nano=10**9), path, model="paid-all", **{limit: None})
    assert reply.status == 200
    assert fake.last().body[limit] == 4096


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("completions", {"prompt": None}, "prompt"),
    ("completions", {"prompt": [{"text": "x"}]}, "prompt"),
    ("completions", {"best_of": 5}, "best_of"),
    ("completions", {"n": 100}, "n"),
    # Servers read another name of the limit first, and its budget is reserved by this one.
    ("completions", {"max_completion_tokens": 100_000}, "max_completion_tokens"),
    ("responses", {"max_completion_tokens": 100_000}, "max_completion_tokens"),
    ("responses", {"max_tokens": 100_000}, "max_tokens"),
    ("responses", {"n": 8}, "n"),
    ("messages", {"max_completion_tokens": 100_000}, "max_completion_tokens"),
    ("messages", {"n": 8}, "n"),
    ("responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("responses", {"previous_response": {"id": "resp_1"}}, "previous_response"),
    ("responses", {"previous_input_messages": [{"role": "user"}]}, "previous_input_messages"),
    ("responses", {"background": True}, "background"),
    ("responses", {"conversation": "conv_1"}, "conversation"),
    ("responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
    ("responses", {"input": [{"type": "tool_use", "input": [1] * 200_000}]}, "body"),
    ("responses", {"tools": [{"type": "mcp", "server_url": "http://10.0.0.7"}]}, "tools[0].type"),
    ("responses", {"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ("responses", {"tools": [{"type": "function", "name": "f", "Type": "web_search"}]}, "tools[0].Type"),
    ("completions", {"Model": "paid-all"}, "Model"),
    ("responses", {"max_output_tokens": -1}, "max_output_tokens"),
    (
        "responses",
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://10.0.0.7/a.png"}]}]},
        "input[0].content[0].image_url",
    ),
    ("messages", {"mcp_servers": [{"url": "http://10.0.0.7"}]}, "mcp_servers"),
    ("messages", {"container": "c"}, "container"),
    ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    ("messages", {"max_tokens": None}, "max_tokens"),
    (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}]},
        "messages[0].content[0].source.url",
    ),
    (
        "moderations",
        {"input": [{"type": "image_url", "image_url": {"url": "http://10.0.0.7"}}]},
        "input[0].image_url.url",
    ),
    ("rerank", {"documents": [{"image": "http://10.0.0.7/a.png"}]}, "documents[0].image"),
    ("rerank", {"query": None}, "query"),
    ("audio/speech", {"ref_audio": "http://10.0.0.7/a.wav"}, "ref_audio"),
    ("audio/speech", {"ref_audio": "/srv/voices/ada.wav"}, "ref_audio"),
    ("audio/speech", {"references": [{"audio_path": "/srv/voices/ada.wav"}]}, "references[0].audio_path"),
    ("audio/speech", {"stream_format": "sse"}, "stream_format"),
    ("images/generations", {"response_format": "url"}, "response_format"),
    ("images/generations", {"n": 1000}, "n"),
    ("images/generations", {"image": ["https://10.0.0.7/a.png"]}, "image[0]"),
]


@pytest.mark.parametrize(("path", "fields", "param"), REFUSED)
def test_what_is_refused(
    url: str, secret: str, fake: FakeInferenceServer, path: str, fields: dict[str, Any], param: str
) -> None:
    before = fake.ledger.requests
    reply = call(url, secret, path, **fields)
    assert reply.status == 400
    assert f"'{param}'" in reply.json["error"]["message"]
    assert fake.ledger.requests == before


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
def test_no_prompt_of_another_api_is_no_fault_of_ours(url: str, secret: str, path: str) -> None:
    body = {"model": "fake-all", "messages": [{"role": "user", "content": WORDS}], "input": WORDS, "prompt": []}
    assert ask(url, f"/{path}", secret=secret, body=body).status == 200


def test_what_a_tool_was_asked_may_hold_an_address(url: str, secret: str) -> None:
    used = {"type": "tool_use", "id": "t", "name": "look_up", "input": {"url": "https://example.com"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "https://example.com says hello"}
    said = [{"role": "assistant", "content": [used]}, {"role": "user", "content": [result]}]
    tools = [{"name": "look_up", "input_schema": TOOL["parameters"]}]
    assert call(url, secret, "messages", messages=said, tools=tools).status == 200
    items = [
        {"type": "function_call", "call_id": "c", "name": "look_up", "arguments": "https://example.com"},
        {"type": "function_call_output", "call_id": "c", "output": "https://example.com says hello"},
    ]
    assert call(url, secret, "responses", input=items, tools=[{"type": "function", **TOOL}]).status == 200


PICTURES = [(f"{name}.png", b"\x89PNG\r\n--\xff" * 1000, "image/png") for name in ("ada", "ben")]


def test_pictures_are_changed(client: openai.OpenAI, fake: FakeInferenceServer, event_of: EventOf) -> None:
    made = client.images.with_raw_response.edit(
        model="fake-all", image=PICTURES, mask=PICTURES[0], prompt=WORDS * 2000, n=2, extra_body={"something_new": "a"}
    )
    assert [one.b64_json for one in made.parse().data or []] == [PICTURE] * 2
    sent = fake.last().body
    assert (sent["model"], sent["n"], sent["something_new"]) == ("inside/all", "2", "a")
    assert (sent["prompt"], sent["response_format"]) == (WORDS * 2000, "b64_json")
    assert sent["image[]"] == [(name, kind, content) for name, content, kind in PICTURES]
    assert sent["mask"] == sent["image[]"][0]
    event = event_of(made.headers["x-request-id"])
    # Of pictures nobody knows what they count.
    assert (event.endpoint, event.status, event.is_estimated) == ("images/edits", 200, True)
    assert (event.prompt_tokens, event.completion_tokens) == (6500, 0)
    client.images.edit(model="fake-all", image=PICTURES[1], prompt=WORDS)
    assert fake.last().body["image"] == (PICTURES[1][0], PICTURES[1][2], PICTURES[1][1])


def test_what_a_server_counts_of_a_changed_picture(client: openai.OpenAI, event_of: EventOf) -> None:
    usage = {"input_tokens": 400, "output_tokens": 6000, "total_tokens": 6400}
    told = {"status": 200, "body": {"created": 1, "data": [{"b64_json": PICTURE}], "usage": usage}}
    made = client.images.with_raw_response.edit(
        model="fake-all", image=PICTURES[0], prompt=WORDS, extra_body={"fake": json.dumps(told)}
    )
    event = event_of(made.headers["x-request-id"])
    assert (event.prompt_tokens, event.completion_tokens, event.is_estimated) == (400, 6000, False)


AUDIO_FILE = ("speech.mp3", b"\x00--\r\n\xff" * 1000, "audio/mpeg")


@pytest.mark.parametrize("path", ["transcriptions", "translations"])
def test_speech_is_written_down(client: openai.OpenAI, fake: FakeInferenceServer, event_of: EventOf, path: str) -> None:
    made = getattr(client.audio, path).with_raw_response.create(
        model="fake-all", file=AUDIO_FILE, prompt="Names: Ada, Ben", extra_body={"something_new": "a\r\n--b"}
    )
    assert made.parse().text == "word " * 8
    sent = fake.last().body
    assert (sent["model"], sent["prompt"], sent["something_new"]) == ("inside/all", "Names: Ada, Ben", "a\r\n--b")
    assert sent["file"] == (AUDIO_FILE[0], AUDIO_FILE[2], AUDIO_FILE[1])
    event = event_of(made.headers["x-request-id"])
    assert (event.endpoint, event.prompt_tokens, event.completion_tokens) == (f"audio/{path}", 7, 8)
    assert not event.is_estimated


def test_a_transcript_as_text_and_with_times(client: openai.OpenAI, fake: FakeInferenceServer) -> None:
    text = client.audio.transcriptions.create(model="fake-all", file=AUDIO_FILE, response_format="text")
    assert text == "word " * 8
    client.audio.transcriptions.create(
        model="fake-all", file=AUDIO_FILE, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert fake.last().body["timestamp_granularities[]"] == ["word", "segment"]


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_a_transcript_is_charged_in_whatever_form_it_comes(
    client: openai.OpenAI, event_of: EventOf, form: Literal["text", "srt", "vtt"]
) -> None:
    made = client.audio.transcriptions.with_raw_response.create(model="paid-all", file=AUDIO_FILE, response_format=form)
    event = event_of(made.headers["x-request-id"])
    assert (event.status, event.completion_tokens, event.is_estimated) == (200, len("word " * 8) // 6, True)
    assert event.cost_nano > 10 * event.completion_tokens


def heard(client: openai.OpenAI, told: dict[str, Any], *, model: str = "fake-all") -> tuple[list[Any], str]:
    """The events of a transcript, and the id of the request."""
    reply = client.audio.transcriptions.with_raw_response.create(
        model=model, file=AUDIO_FILE, stream=True, extra_body={"fake": json.dumps(told)}
    )
    return list(reply.parse()), reply.headers["x-request-id"]


def test_a_transcript_is_streamed(client: openai.OpenAI, fake: FakeInferenceServer, event_of: EventOf) -> None:
    events, request_id = heard(client, {})
    assert [event.type for event in events] == ["transcript.text.delta"] * 8 + ["transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == "word " * 8
    assert (events[-1].usage.input_tokens, events[-1].usage.output_tokens) == (7, 8)
    assert fake.last().body["stream_include_usage"] == "true"
    event = event_of(request_id)
    assert (event.endpoint, event.prompt_tokens, event.completion_tokens) == ("audio/transcriptions", 7, 8)
    assert (event.is_streamed, event.is_estimated) == (True, False)
    assert event.first_token_ms is not None


def chunk(text: str, **fields: Any) -> dict[str, Any]:
    choice = {"delta": {"content": text}, "finish_reason": None}
    return {"id": "trsc-1", "object": "transcription.chunk", "model": "inside/all", "choices": [choice], **fields}


@pytest.mark.parametrize("is_counted", [True, False])
def test_chunks_of_a_transcript_become_its_events(
    client: openai.OpenAI, event_of: EventOf, *, is_counted: bool
) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    ending = [chunk("", choices=[], usage=usage)] if is_counted else []
    events, request_id = heard(client, {"chunks": [chunk(""), chunk("one "), chunk("two"), *ending]})
    assert [event.type for event in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert ([event.delta for event in events[:-1]], events[-1].text) == (["one ", "two"], "one two")
    assert (events[-1].usage.total_tokens if is_counted else events[-1].usage) == (13 if is_counted else None)
    event = event_of(request_id)
    assert event.completion_tokens == (4 if is_counted else 2)
    assert event.is_estimated is not is_counted


@pytest.mark.parametrize("told", [{"die_after": 3}, {"error_after": 3}, {"chunks": [chunk("one"), {"error": "x"}]}])
def test_a_transcript_that_breaks_off_raises(client: openai.OpenAI, told: dict[str, Any]) -> None:
    with pytest.raises(openai.APIError, match="tell the operator"):
        heard(client, told)


def test_a_server_that_hears_all_before_it_writes(client: openai.OpenAI, url: str, secret: str) -> None:
    with pytest.raises(openai.BadRequestError, match="leave it out") as caught:
        heard(client, {"whole": True})
    assert caught.value.param == "stream"
    # Nor is it held to be broken.
    assert heard(client, {})[0]


def form(*parts: tuple[str, str, bytes]) -> tuple[bytes, dict[str, str]]:
    """A form of parts with a name, what follows it in their heads, and a content."""
    body = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"
        for name, more, content in parts
    )
    return body + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([("model", "", b"fake-all")], "'file'"),
        ([("model", "", b"fake-all"), ("file", '; filename="a.mp3"', b"")], "'file'"),
        ([("file", '; filename="a.mp3"', b"x")], "'model'"),
        ([("model", "", b"fake-all"), ("file", '; filename="a"', b"x"), ("stream", "", b"yes")], "'stream'"),
        (
            [("model", "", b"fake-all"), ("file", '; filename="a"', b"x"), ("response_format", "", b"exe")],
            "response_format",
        ),
        ([("model", "", b"fake-all"), ("file", '; filename="a"', b"x"), ("a b", "", b"1")], "plain letters"),
        ([("model", "", b"fake-all"), ("file", '; filename="a"', b"x"), ("lora", "", b"1")], "'lora'"),
        ([("other", '; filename="a"', b"x")], "'other'"),
    ],
)
def test_a_form_that_is_refused(url: str, secret: str, parts: list[tuple[str, str, bytes]], said: str) -> None:
    body, headers = form(*parts)
    reply = ask(url, "/audio/transcriptions", secret=secret, body=body, headers=headers)
    assert reply.status == 400
    assert said in reply.error["message"]


A_PICTURE = ("image", '; filename="a.png"', b"x")
NAMED, ASKED = ("model", "", b"fake-all"), ("prompt", "", b"hats")


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([NAMED, ASKED], "image"),
        ([NAMED, ASKED, ("image", "", b"http://10.0.0.7/a.png")], "image"),
        ([NAMED, ASKED, ("image[]", '; filename="a.png"', b"")], "image[]"),
        ([NAMED, ASKED, *[("image[]", '; filename="a.png"', b"x")] * 17], "image[]"),
        ([NAMED, ASKED, A_PICTURE, *[("mask", '; filename="a.png"', b"x")] * 2], "mask"),
        ([NAMED, ASKED, A_PICTURE, ("mask", "", b"/srv/masks/ada.png")], "mask"),
        ([NAMED, ASKED, A_PICTURE, ("file", '; filename="a.png"', b"x")], "file"),
        ([NAMED, A_PICTURE], "prompt"),
        ([NAMED, A_PICTURE, ("prompt", "", b"x" * (128 * 1024 + 1))], "prompt"),
        ([ASKED, A_PICTURE], "model"),
        ([NAMED, ASKED, A_PICTURE, ("n", "", b"11")], "n"),
        ([NAMED, ASKED, A_PICTURE, ("n", "", b"two")], "n"),
        ([NAMED, ASKED, A_PICTURE, ("stream", "", b"true")], "stream"),
        ([NAMED, ASKED, A_PICTURE, ("response_format", "", b"url")], "response_format"),
        ([NAMED, ASKED, A_PICTURE, ("lora", "", b"1")], "lora"),
        ([NAMED, ASKED, A_PICTURE, ("url", "", b"/etc/passwd")], "url"),
        ([NAMED, ASKED, A_PICTURE, ("url[]", "", b"/etc/passwd")], "url[][0]"),
        ([NAMED, ASKED, A_PICTURE, ("mask_image", "", b"/srv/masks/ada.png")], "mask_image"),
        ([NAMED, ASKED, A_PICTURE, ("anything", "", b"http://10.0.0.7/a.png")], "anything"),
    ],
)
def test_an_edit_that_is_refused(
    url: str, secret: str, fake: FakeInferenceServer, parts: list[tuple[str, str, bytes]], param: str
) -> None:
    before = fake.ledger.requests
    body, headers = form(*parts)
    reply = ask(url, "/images/edits", secret=secret, body=body, headers=headers)
    assert (reply.status, reply.error["param"]) == (400, param)
    assert fake.ledger.requests == before


def test_a_server_that_changes_no_pictures(client: openai.OpenAI) -> None:
    told = json.dumps({"status": 404, "body": {"detail": "Not Found"}})
    with pytest.raises(openai.BadRequestError, match="does not offer /v1/images/edits"):
        client.images.edit(model="fake-all", image=PICTURES[0], prompt=WORDS, extra_body={"fake": told})


def test_a_translation_is_not_streamed(url: str, secret: str) -> None:
    body, headers = form(("model", "", b"fake-all"), ("file", '; filename="a"', b"x"), ("stream", "", b"true"))
    reply = ask(url, "/audio/translations", secret=secret, body=body, headers=headers)
    assert (reply.status, reply.error["param"]) == (400, "stream")


def test_what_a_form_says_of_its_file_adds_nothing_to_the_servers(
    url: str, secret: str, fake: FakeInferenceServer
) -> None:
    parts = [("model", "", b"fake-all"), ("file", '; filename="a\\";x=1"\r\nContent-Type: a/b; name="model"', b"x")]
    body, headers = form(*parts)
    assert ask(url, "/audio/transcriptions", secret=secret, body=body, headers=headers).status == 200
    assert fake.last().body["model"] == "inside/all"
    assert fake.last().body["file"][1:] == ("application/octet-stream", b"x")


def test_no_form_at_all(url: str, secret: str) -> None:
    reply = ask(url, "/audio/transcriptions", secret=secret, body={"model": "fake-all"})
    assert reply.status == 400
    assert "multipart/form-data" in reply.error["message"]


def test_a_page_in_place_of_speech_is_no_answer(url: str, secret: str) -> None:
    assert call(url, secret, "audio/speech", {"wrong_type": True}).status == 502


def test_speech_that_breaks_off_cannot_be_taken_for_whole(url: str, secret: str) -> None:
    with pytest.raises(http.client.IncompleteRead):
        call(url, secret, "audio/speech", {"die_after": 500})
    wait_until_metered(status=502, endpoint="audio/speech")


def test_a_client_that_leaves_speech_stops_the_server(url: str, secret: str, fake: FakeInferenceServer) -> None:
    body = {"model": "fake-all", **BODIES["audio/speech"], "fake": {"stall_after": 500}}
    with pytest.raises(TimeoutError):
        ask(url, "/audio/speech", secret=secret, body=body, timeout=0.5)
    wait_for(lambda: fake.last().closed_by == "client")
    wait_until_metered(status=499, endpoint="audio/speech")


def wait_until_metered(**fields: Any) -> None:
    def is_there() -> bool:
        drain()
        return UsageEvent.objects.filter(**fields).exists()

    wait_for(is_there)

"""What a body may hold before an inference server sees it, and that looking at it takes no time from other calls."""

import time
from typing import Any

import orjson
import pytest

from common.errors import InvalidRequestError
from inference.endpoints import CHAT_COMPLETIONS, EMBEDDINGS, ENDPOINTS

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi. See https://example.com"}]}


FIELDS = orjson.dumps({f"a{number}": 1 for number in range(1_000_000)}).decode()


def called(arguments: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "arguments": arguments}}


def refused(body: dict[str, Any]) -> str | None:
    with pytest.raises(InvalidRequestError) as caught:
        (CHAT_COMPLETIONS if "messages" in body else EMBEDDINGS).check(body)
    return caught.value.param


def said(*content: Any) -> dict[str, Any]:
    return CHAT | {"messages": [{"role": "user", "content": list(content)}]}


def test_it_works() -> None:
    CHAT_COMPLETIONS.check(CHAT | {"stop": ["a", "b"], "chat_template_kwargs": {"enable_thinking": False}})
    CHAT_COMPLETIONS.check(said("https://example.com", {"type": "text", "text": "https://example.com"}))
    EMBEDDINGS.check({"model": "m", "input": ["https://example.com", [1, 2]]})


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "image": "http://169.254.169.254/"},
        {"type": "video", "video": ["https://example.com/a", "https://example.com/b"]},
        {"type": "image_url", "image_url": ["http://169.254.169.254/"]},
        {"type": "image_url", "image_url": {"url": ["http://169.254.169.254/"]}},
        {"type": "input_audio", "input_audio": {"data": " file:///etc/passwd"}},
    ],
)
def test_an_address_in_any_field_of_a_part(part: dict[str, Any]) -> None:
    assert str(refused(said(part))).startswith("messages[0].content[0].")


def test_a_picture_by_the_name_that_another_gave_it() -> None:
    part = {"type": "image_url", "image_url": None, "uuid": "invoice-1"}
    assert refused(said(part)) == "messages[0].content[0].uuid"


def test_an_address_in_content_that_is_no_list() -> None:
    content = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}
    assert refused(CHAT | {"messages": [{"role": "user", "content": content}]}) == "messages[0].content.image_url.url"


def test_an_address_among_what_is_embedded() -> None:
    assert refused({"model": "m", "input": [{"image": "http://169.254.169.254/"}]}) == "input"


@pytest.mark.parametrize("argument", ["chat_template", "tokenize"])
def test_a_template_by_way_of_its_arguments(argument: str) -> None:
    assert refused(CHAT | {"chat_template_kwargs": {argument: "{{ 7 }}"}}) == f"chat_template_kwargs.{argument}"


@pytest.mark.parametrize("name", ["Model", "MAX_TOKENS", "Options", "max_to\u212aens", "Stream"])
def test_a_name_that_some_servers_take_for_another(name: str) -> None:
    assert refused(CHAT | {name: "x"}) == name
    assert refused(CHAT | {"stream": True, "stream_options": {name: False}}) == f"stream_options.{name}"
    assert refused(CHAT | {"messages": [{"role": "user", "content": "x", name: "y"}]}) == f"messages[0].{name}"


def test_more_work_than_the_choices_say() -> None:
    assert refused(CHAT | {"best_of": 1000}) == "best_of"
    assert refused(CHAT | {"stop": ["x"] * 10_000}) == "stop"


def test_what_the_reference_allows() -> None:
    CHAT_COMPLETIONS.check(CHAT | {"n": 4, "logprobs": True, "top_logprobs": 20, "logit_bias": {"1": 5.0}})
    CHAT_COMPLETIONS.check(CHAT | {"tools": [tool({"type": "string", "pattern": "^[a-z]+$"})], "tool_choice": "auto"})
    CHAT_COMPLETIONS.check(CHAT | {"response_format": {"type": "json_schema", "json_schema": {"schema": nested(12)}}})
    CHAT_COMPLETIONS.check(CHAT | {"structured_outputs": {"json": '{"type": "object"}'}, "guided_regex": "[0-9]+"})
    CHAT_COMPLETIONS.check(CHAT | {"json_schema": {"type": "object", "properties": {"grammar": {"type": "string"}}}})
    ENDPOINTS["audio/speech"].check({"input": "Hi", "voice": "alloy", "response_format": "mp3"})
    ENDPOINTS["images/generations"].check({"prompt": "x", "response_format": "b64_json", "output_format": "png"})
    EMBEDDINGS.check({"model": "m", "input": ["x"] * 2048})
    EMBEDDINGS.check({"model": "m", "input": list(range(8192))})


def tool(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _level in range(levels):
        schema = {"type": "object", "properties": {"inner": schema}}
    return schema


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        *(({name: 'root ::= "a"'}, name) for name in ("grammar", "guided_grammar", "ebnf", "structural_tag")),
        *(({name: 7}, name) for name in ("n_probs", "n_cmpl", "best_of", "prompt_logprobs", "return_hidden_states")),
        *(({name: 7}, name) for name in ("n_predict", "max_new_tokens", "num_predict", "max_output_tokens")),
        ({"options": {"num_predict": 7}}, "options"),
        *(({name: "x"}, name) for name in ("stop_regex", "session_id", "routed_dp_rank", "images_config")),
        ({"structured_outputs": {"grammar": "root"}}, "structured_outputs.grammar"),
        ({"response_format": {"type": "grammar", "grammar": "root"}}, "response_format.grammar"),
        ({"response_format": {"type": "structural_tag"}}, "response_format.type"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 49_152}, "logprobs"),
        ({"n": 5}, "n"),
        ({"logit_bias": {str(token): 1 for token in range(49_000)}}, "logit_bias"),
        ({"logit_bias": [[token, 1] for token in range(301)]}, "logit_bias"),
        ({"dry_penalty_last_n": 200_000_000}, "dry_penalty_last_n"),
        ({"repeat_last_n": 2**31 - 1}, "repeat_last_n"),
        ({"dry_sequence_breakers": ["a"] * 17}, "dry_sequence_breakers"),
        ({"dry_sequence_breakers": ["a" * 65]}, "dry_sequence_breakers"),
        ({"samplers": ["top_k"] * 33}, "samplers"),
        ({"samplers": "k" * 33}, "samplers"),
        ({f"k{number}": 1 for number in range(300)}, "body"),
        ({"x": [[1] * 1000] * 1000}, "body"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": nested(40)}}}, "body"),
        ({"tools": [tool({"type": "string", "pattern": "(" * 100_000})]}, "tools"),
        ({"tools": [tool({"type": "string", "pattern": "(" * 600})]}, "tools"),
        ({"tools": [tool({})] * 2000}, "tools"),
        ({"json_schema": {"type": "string", "pattern": "(" * 600}}, "json_schema"),
        ({"guided_json": "[" * 200 + "]" * 200}, "body"),
        ({"guided_json": "[" * 100_000}, "guided_json"),
        ({"guided_regex": "(" * 600}, "guided_regex"),
        ({"structured_outputs": {"json": '{"pattern": "' + "(" * 600 + '"}'}}, "structured_outputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_field_that_could_take_a_server_from_everybody(fields: dict[str, Any], param: str) -> None:
    assert refused(CHAT | fields) == param


LARK = {"type": "grammar", "syntax": "lark", "definition": "start: start"}
GBNF = {"type": "grammar", "grammar": "root ::= root"}
WILD = {"type": "json_schema", "schema": {"type": "string", "pattern": "(" * 600}}


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("responses", {"text": {"format": LARK}}, "text.format.type"),
        ("responses", {"text": {"format": GBNF}}, "text.format.grammar"),
        ("responses", {"text": {"format": WILD}}, "text"),
        ("responses", {"tools": [{"type": "custom", "name": "f", "format": LARK}]}, "tools[0].format.type"),
        (
            "chat/completions",
            {"tools": [{"type": "custom", "custom": {"format": LARK}}]},
            "tools[0].custom.format.type",
        ),
        (
            "chat/completions",
            {"tools": [{"type": "custom", "custom": {"format": {"type": "grammar", "grammar": LARK}}}]},
            "tools[0].custom.format.grammar",
        ),
        ("messages", {"tools": [{"name": "f", "input_schema": WILD}]}, "tools"),
        ("messages", {"tools": [{"name": "f", "format": GBNF}]}, "tools[0].format.grammar"),
        ("messages", {"output_format": WILD}, "output_format"),
        ("messages", {"output_config": {"format": LARK}}, "output_config.format.type"),
    ],
)
def test_a_grammar_in_place_of_a_schema(path: str, fields: dict[str, Any], param: str) -> None:
    body: dict[str, Any] = CHAT | {"input": "Hi", "max_tokens": 5}
    if path == "responses":
        del body["max_tokens"]
    ENDPOINTS[path].check(body)
    with pytest.raises(InvalidRequestError) as caught:
        ENDPOINTS[path].check(body | fields)
    assert caught.value.param == param


def test_a_schema_may_name_its_properties_as_it_likes() -> None:
    names: dict[str, Any] = {"grammar": {"type": "string"}, "type": {"const": "grammar"}}
    schema = {"type": "object", "properties": {**names, "properties": {"type": "object", "properties": names}}}
    tools = [{"type": "function", "name": "f", "parameters": schema}, {"type": "custom", "name": "g"}]
    text = {"format": {"type": "json_schema", "name": "n", "schema": {"$defs": names, **schema}}, "verbosity": "low"}
    ENDPOINTS["responses"].check({"model": "m", "input": "Hi", "tools": tools, "text": text})
    CHAT_COMPLETIONS.check(CHAT | {"tools": [tool({"type": ["object", "null"], "properties": names})]})


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"content": 7}, "content"),
        ({"content": [7]}, "content"),
        ({"tools": [{"function": {"parameters": {"pattern": "(" * 600}}}]}, "tools"),
        ({"tool_calls": "x"}, "tool_calls"),
        ({"tool_calls": [7]}, "tool_calls[0]"),
        ({"tool_calls": [{"type": "function"}]}, "tool_calls[0]"),
        ({"tool_calls": [{"type": "function", "function": {"arguments": "{}"}}]}, "tool_calls[0]"),
        (
            {"tool_calls": [called("[" * 100_000)]},
            "tool_calls[0].function.arguments",
        ),
    ],
)
def test_a_message_that_no_server_can_read(message: dict[str, Any], place: str) -> None:
    assert refused(CHAT | {"messages": [{"role": "assistant", **message}]}) == f"messages[0].{place}"


def test_arguments_of_a_response_that_no_server_can_read() -> None:
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "[" * 100_000}
    with pytest.raises(InvalidRequestError) as caught:
        ENDPOINTS["responses"].check({"model": "m", "input": [item]})
    assert caught.value.param == "input[0].arguments"


@pytest.mark.parametrize("tools", ["x", [7], [{"type": "function"}], [{"type": "function", "function": {}}]])
def test_tools_that_no_server_can_read(tools: Any) -> None:
    assert str(refused(CHAT | {"tools": tools})).startswith("tools")


@pytest.mark.parametrize("given", [["x"] * 2049, [1] * 300_001, [[1] * 8192] * 40, [["x"]], [[[1]]], [None]])
def test_more_to_embed_than_one_call_may_bring(given: Any) -> None:
    assert refused({"model": "m", "input": given}) == "input"


def test_the_larger_of_two_output_limits_counts() -> None:
    assert CHAT_COMPLETIONS.asked_output_tokens({"max_tokens": 900, "max_completion_tokens": 5}) == 900


@pytest.mark.parametrize(
    ("path", "field", "given"),
    [
        ("chat/completions", "messages", [{"role": "user", "content": [[0] * 1000] * 30}]),
        ("responses", "input", [{"role": "user", "content": [[0] * 1000] * 30}]),
        ("messages", "system", [[0] * 1000] * 30),
        ("moderations", "input", [{"a": [0] * 1000}] * 30),
        ("rerank", "documents", [{"a": [0] * 1000}] * 30),
        ("audio/speech", "extra", [[0] * 1000] * 30),
    ],
)
def test_the_field_with_too_many_values_is_named(path: str, field: str, given: Any) -> None:
    body = {"messages": [{"role": "user"}], "input": "Hi", "query": "q", "documents": ["d"], field: given}
    if path == "messages":
        body["max_tokens"] = 5
    with pytest.raises(InvalidRequestError) as caught:
        ENDPOINTS[path].check(body)
    assert (caught.value.param, "20000 values" in caught.value.message) == (field, True)


def test_a_limit_goes_by_the_name_that_its_server_heeds() -> None:
    for base_url in (
        "https://api.openai.com/v1",
        "https://eu.api.openai.com/v1",
        "https://x.openai.azure.com/openai/v1",
    ):
        assert CHAT_COMPLETIONS.limit_at(base_url) == "max_completion_tokens"
        assert ENDPOINTS["completions"].limit_at(base_url) == "max_tokens"
    for base_url in ("http://10.0.0.7:1234/v1", "https://api.openai.com.example/v1", "https://openrouter.ai/api/v1"):
        assert CHAT_COMPLETIONS.limit_at(base_url) == "max_tokens"


@pytest.mark.parametrize(
    "body",
    [
        CHAT | {"messages": [{"role": "user"}] * 1_000_000},
        said(*[{"a": {"b": 1}}] * 1_000_000),
        said(*[[[[[1] * 100] * 100] * 100]]),
        {"model": "m", "input": [{}] * 1_000_000},
        said({"a" * 4_000_000: {f"b{number}": 1 for number in range(19_000)}}),
        said({"image": " " * 10_000_000}, {"type": "image_embeds"}),
        CHAT | {"guided_json": FIELDS},
        CHAT | {"messages": [{"role": "assistant", "tool_calls": [called(f"[{FIELDS},{'[]' + ',[]' * 600}]")]}]},
    ],
    ids=["messages", "parts", "lists", "inputs", "a long name", "spaces", "a schema", "arguments"],
)
def test_a_great_many_values_are_not_all_looked_at(body: dict[str, Any]) -> None:
    started = time.thread_time()
    refused(body)
    assert time.thread_time() - started < 0.2

"""What an inference server answers at the endpoints beside chats and embeddings, as each API has it."""

import email
import email.policy
import json
import re
from collections.abc import Iterator
from typing import Any

WORD = "word "
PICTURE = "iVBORw0KGgo="
AUDIO = b"ID3" + bytes(range(256)) * 40

TYPED = ("/responses", "/messages", "/audio/transcriptions")
"""Paths whose streams are of events that each say their type."""


Called = tuple[str, str] | None
"""The tool that the model calls, and the JSON of its arguments."""


def whole(
    path: str, body: dict[str, Any], *, model: str, prompt_tokens: int, tokens: int, called: Called
) -> dict[str, Any] | None:
    """The answer at a path, with its count where the API has one; None for a path that is not among these."""
    text = WORD * tokens
    match path.removeprefix("/v1"):
        case "/completions":
            prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
            choices = [
                {"index": index, "text": text, "logprobs": None, "finish_reason": "stop"}
                for index in range(len(prompts))
            ]
            return {"id": "cmpl-fake", "object": "text_completion", "created": 1, "model": model, "choices": choices}
        case "/responses":
            return response(model, status="completed", text=text) | {"usage": response_usage(prompt_tokens, tokens)}
        case "/messages":
            usage = {"input_tokens": prompt_tokens, "output_tokens": tokens, "cache_read_input_tokens": 2}
            said: dict[str, Any] = {"type": "text", "text": text}
            reason = "end_turn"
            if called is not None:
                said, reason = tool_use(called[0], json.loads(called[1])), "tool_use"
            return message(model, [said]) | {"stop_reason": reason, "usage": usage}
        case "/messages/count_tokens":
            return {"input_tokens": prompt_tokens}
        case "/moderations":
            return {"id": "modr-fake", "model": model, "results": [{"flagged": False, "categories": {}}]}
        case "/rerank":
            results = [{"index": index, "relevance_score": 0.5} for index in range(len(body["documents"]))]
            return {"id": "rerank-fake", "model": model, "results": results, "usage": {"total_tokens": prompt_tokens}}
        case "/audio/transcriptions" | "/audio/translations":
            return {"text": text, "usage": transcript_usage(tokens)}
        case "/images/generations" | "/images/edits":
            # What a form says is text.
            return {"created": 1, "data": [{"b64_json": PICTURE}] * int(body.get("n", 1))}
    return None


def form_fields(content_type: str, raw: bytes) -> dict[str, Any]:
    """What stands in a form, by name: texts, and of a file its name, kind and bytes; several of one name in a list."""
    message = email.message_from_bytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + raw, policy=email.policy.HTTP
    )
    parts: dict[str, list[Any]] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        is_file = part.get_filename() is not None
        value = (part.get_filename(), part.get_content_type(), content) if is_file else content.decode()
        parts.setdefault(name, []).append(value)
    found: dict[str, Any] = {
        name: values if len(values) > 1 or name.endswith("[]") else values[0] for name, values in parts.items()
    }
    return found | {"fake": json.loads(found.get("fake", "{}"))}


def events(
    path: str, *, model: str, prompt_tokens: int, tokens: int, called: Called
) -> Iterator[tuple[dict[str, Any], bool]]:
    """The events of a stream, and whether each is a token of the answer."""
    if path.endswith("/responses"):
        yield {"type": "response.created", "response": response(model, status="in_progress")}, False
        place = {"item_id": "msg_fake", "output_index": 0}
        opened = response_item("", status="in_progress") | {"content": []}
        yield {"type": "response.output_item.added", "output_index": 0, "item": opened}, False
        part = {"type": "output_text", "text": "", "annotations": []}
        yield {"type": "response.content_part.added", **place, "content_index": 0, "part": part}, False
        for _token in range(tokens):
            delta = {"content_index": 0, "delta": WORD, "logprobs": []}
            yield {"type": "response.output_text.delta", **place, **delta}, True
        said = {"content_index": 0, "text": WORD * tokens, "logprobs": []}
        yield {"type": "response.output_text.done", **place, **said}, False
        ended = response_item(WORD * tokens, status="completed")
        yield {"type": "response.output_item.done", "output_index": 0, "item": ended}, False
        done = response(model, status="completed", text=WORD * tokens)
        yield {"type": "response.completed", "response": done | {"usage": response_usage(prompt_tokens, tokens)}}, False
        return
    if path.endswith("/audio/transcriptions"):
        for _token in range(tokens):
            yield {"type": "transcript.text.delta", "delta": WORD}, True
        yield {"type": "transcript.text.done", "text": WORD * tokens, "usage": transcript_usage(tokens)}, False
        return
    opened = message(model, []) | {"usage": {"input_tokens": prompt_tokens, "output_tokens": 1}}
    yield {"type": "message_start", "message": opened}, False
    block: dict[str, Any] = {"type": "text", "text": ""}
    deltas: list[dict[str, Any]] = [{"type": "text_delta", "text": WORD}] * tokens
    if called is not None:
        block = tool_use(called[0], {})
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in re.findall(r".{1,5}", called[1])]
    yield {"type": "content_block_start", "index": 0, "content_block": block}, False
    yield {"type": "ping"}, False
    for delta in deltas:
        yield {"type": "content_block_delta", "index": 0, "delta": delta}, True
    yield {"type": "content_block_stop", "index": 0}, False
    end = {"stop_reason": "tool_use" if called else "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": tokens}}, False
    yield {"type": "message_stop"}, False


def response(model: str, *, status: str, text: str = "") -> dict[str, Any]:
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": model,
        "output": [response_item(text, status="completed")] if text else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "metadata": {},
        "usage": None,
    }


def response_item(text: str, *, status: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"id": "msg_fake", "type": "message", "role": "assistant", "status": status, "content": [part]}


def response_usage(prompt_tokens: int, tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": prompt_tokens,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens": tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt_tokens + tokens,
    }


def transcript_usage(tokens: int) -> dict[str, Any]:
    return {"type": "tokens", "input_tokens": 7, "output_tokens": tokens, "total_tokens": 7 + tokens}


def tool_use(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments}


def message(model: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }

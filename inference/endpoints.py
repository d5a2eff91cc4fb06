"""The endpoints under `/v1` that reach an inference server: one entry each, and a path not in the table does not exist.

An entry says where the endpoint is, what a model must be able to do to serve it, whether it streams, which fields bound
its answer, where the results are in it and how a body is checked. The model's name is in `model` and the count in
`usage` at all of them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import orjson

from common.errors import InvalidValueError, MissingParameterError, UnsupportedParameterError
from inference.bounds import check_bounds, check_whole
from inference.fields import DENIED_FIELDS, DENIED_PARTS, DENIED_TEMPLATE_ARGUMENTS

Body = dict[str, Any]

# Texts may speak of any address; elsewhere in a message an address is there to be fetched.
TEXT_FIELDS = frozenset({"content", "refusal", "text", "thinking"})
REMOTE = re.compile(r"\s*(?:https?|ftp|file|s3|gs)://", re.IGNORECASE)
# Every message and every value in one is looked at before other calls get their turn.
MOST_MESSAGES = 10_000
MOST_VALUES = 20_000
MOST_INPUTS = 2048
MOST_INPUT_TOKENS = 300_000
MOST_DEPTH = 8
MOST_STOPS = 16
MOST_CHOICES = 4
# Templates parse the arguments of earlier calls; those with this many brackets are parsed here first.
MOST_ARGUMENT_BRACKETS = 500
MOST_OUTPUT_TOKENS = 10_000_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `path` is below `/v1`, here and at the server, and is its name in usage events."""

    path: str
    needs: Literal["chats", "embeds"]
    streams: bool
    output_limits: tuple[str, ...]
    results: str
    check: Callable[[Body], None]

    def asked_output_tokens(self, body: Body) -> int | None:
        """The most tokens each answer may have as the client put it; None when the client set no bound.

        Servers disagree on which of two goes first, so the larger counts.
        """
        asked = [value for name in self.output_limits if isinstance(value := body.get(name), int)]
        return max(asked, default=None)


def model_name(body: Body) -> str:
    """The model asked for.

    Raises MissingParameterError or InvalidValueError.
    """
    name = body.get("model")
    if name is None:
        raise MissingParameterError("model")
    if not isinstance(name, str) or not name:
        raise InvalidValueError("model", "the name of a model")
    return name


def choices(body: Body) -> int:
    """How many answers are asked for at once."""
    value = body.get("n")
    return value if isinstance(value, int) and value > 0 else 1


def _check_chat(body: Body) -> None:
    _refuse_denied(body)
    check_bounds(body)
    messages = body.get("messages")
    if messages is None:
        raise MissingParameterError("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidValueError("messages", "a list with at least one message")
    _check_messages(messages)
    for name in ("max_tokens", "max_completion_tokens"):
        check_whole(body, name, least=1, most=MOST_OUTPUT_TOKENS)
    check_whole(body, "n", least=1, most=MOST_CHOICES)
    _check_tools(body.get("tools"))
    stops = body.get("stop")
    if isinstance(stops, list) and len(stops) > MOST_STOPS:
        raise InvalidValueError("stop", f"at most {MOST_STOPS} texts")
    _check_flag(body, "stream")
    options = body.get("stream_options")
    if options is not None:
        if not isinstance(options, dict):
            raise InvalidValueError("stream_options", "an object")
        if not body.get("stream"):
            raise UnsupportedParameterError("stream_options", "It is only allowed together with 'stream': true.")
        _check_flag(options, "include_usage", within="stream_options.")


def _check_embeddings(body: Body) -> None:
    _refuse_denied(body)
    check_bounds(body)
    given = body.get("input")
    if given is None:
        raise MissingParameterError("input")
    if not isinstance(given, str | list) or not given:
        raise InvalidValueError("input", "a text that is not empty, or a list of texts or of token lists")
    if isinstance(given, list):
        _check_inputs(given)
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise InvalidValueError("encoding_format", "'float' or 'base64'")
    if body.get("stream"):
        raise UnsupportedParameterError("stream", "Embeddings are not streamed.")
    messages = body.get("messages")
    if isinstance(messages, list):
        _check_messages(messages)


def _check_inputs(given: list[Any]) -> None:
    """Refuse what is neither texts nor tokens: some servers take objects with the address of an image, and fetch it."""
    are_tokens = all(type(item) is int for item in given)
    if not are_tokens and len(given) > MOST_INPUTS:
        raise InvalidValueError("input", f"at most {MOST_INPUTS} texts or token lists")
    tokens = len(given) if are_tokens else sum(len(item) for item in given if isinstance(item, list))
    if tokens > MOST_INPUT_TOKENS:
        raise InvalidValueError("input", f"at most {MOST_INPUT_TOKENS} tokens")
    if are_tokens:
        return
    for item in given:
        if not (isinstance(item, str) or (isinstance(item, list) and all(type(token) is int for token in item))):
            raise InvalidValueError("input", "a text that is not empty, or a list of texts or of token lists")


def _refuse_denied(body: Body) -> None:
    denied = DENIED_FIELDS.intersection(body)
    if denied:
        raise UnsupportedParameterError(min(denied))
    arguments = body.get("chat_template_kwargs")
    if isinstance(arguments, dict) and (denied := DENIED_TEMPLATE_ARGUMENTS.intersection(arguments)):
        raise UnsupportedParameterError(f"chat_template_kwargs.{min(denied)}")


def _check_messages(messages: list[Any]) -> None:
    if len(messages) > MOST_MESSAGES:
        raise InvalidValueError("messages", f"at most {MOST_MESSAGES} messages")
    values = iter(range(MOST_VALUES))
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidValueError(f"messages[{index}]", "an object")
        role = message.get("role")
        if role is None:
            raise MissingParameterError(f"messages[{index}].role")
        if not isinstance(role, str):
            raise InvalidValueError(f"messages[{index}].role", "a text")
        content = message.get("content")
        if content is not None and not isinstance(content, str | list | dict):
            raise InvalidValueError(f"messages[{index}].content", "a text or a list of parts")
        if message.get("tool_calls") is not None:
            _check_tool_calls(message["tool_calls"], f"messages[{index}].tool_calls")
        if isinstance(content, list | dict):
            if isinstance(content, list) and not all(isinstance(part, dict | list | str) for part in content):
                raise InvalidValueError(f"messages[{index}].content", "a text or a list of parts")
            _check_value(content, f"messages[{index}].content", name="content", depth=0, values=values)


def _check_tool_calls(calls: Any, where: str) -> None:
    """Refuse what servers cannot read: llama.cpp calls it a fault of its own."""
    if not isinstance(calls, list):
        raise InvalidValueError(where, "a list of calls")
    for number, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise InvalidValueError(f"{where}[{number}]", "an object with a 'function' that has a 'name'")
        arguments = function.get("arguments")
        if isinstance(arguments, str) and arguments.count("[") + arguments.count("{") > MOST_ARGUMENT_BRACKETS:
            try:
                orjson.loads(arguments)
            except orjson.JSONDecodeError:
                raise InvalidValueError(f"{where}[{number}].function.arguments", "JSON") from None


def _check_tools(tools: Any) -> None:
    if tools is None:
        return
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise InvalidValueError("tools", "a list of objects")
    for number, tool in enumerate(tools):
        if tool.get("type") != "function":
            continue
        function = tool.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise InvalidValueError(f"tools[{number}]", "an object with a 'function' that has a 'name'")


def _check_value(value: Any, where: str, *, name: str, depth: int, values: Iterator[int]) -> None:
    """Refuse what makes an inference server fetch an address: it would reach internal ones, too."""
    if next(values, None) is None:
        raise InvalidValueError("messages", f"at most {MOST_VALUES} values in their parts")
    if isinstance(value, str):
        is_address = name == "url" or name.endswith("_url")
        if (is_address and value[:5].lower() != "data:") or (name not in TEXT_FIELDS and REMOTE.match(value)):
            raise InvalidValueError(where, "a data: URL; remote addresses are not fetched here")
    elif isinstance(value, list | dict):
        if depth > MOST_DEPTH:
            raise InvalidValueError(where, "fewer levels of nesting")
        if isinstance(value, list):
            for index, item in enumerate(value):
                _check_value(item, f"{where}[{index}]", name=name, depth=depth + 1, values=values)
            return
        if value.get("type") in DENIED_PARTS:
            raise UnsupportedParameterError(f"{where}.type")
        for field, item in value.items():
            if field in DENIED_PARTS:
                raise UnsupportedParameterError(f"{where}.{field}")
            _check_value(item, f"{where}.{field}", name=field, depth=depth + 1, values=values)


def _check_flag(body: Mapping[str, Any], name: str, *, within: str = "") -> None:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidValueError(within + name, "true or false")


CHAT_COMPLETIONS = Endpoint(
    path="chat/completions",
    needs="chats",
    streams=True,
    output_limits=("max_completion_tokens", "max_tokens"),
    results="choices",
    check=_check_chat,
)
EMBEDDINGS = Endpoint(
    path="embeddings", needs="embeds", streams=False, output_limits=(), results="data", check=_check_embeddings
)

ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType({entry.path: entry for entry in (CHAT_COMPLETIONS, EMBEDDINGS)})

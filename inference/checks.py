"""What a body must be, endpoint by endpoint, before an inference server sees it.

Each `check_…` raises MissingParameterError, InvalidValueError or UnsupportedParameterError, naming the field.
"""

import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any

import orjson

from common.errors import InvalidValueError, MissingParameterError, UnsupportedParameterError
from inference.bounds import check_bounds, check_names, check_schema, check_size, check_whole
from inference.fields import DENIED_FIELDS, DENIED_PARTS, DENIED_TEMPLATE_ARGUMENTS, OUTPUT_LIMITS, STORED_STATE
from inference.forms import FIELD_NAME, Attachment

Body = dict[str, Any]

# Texts may speak of any address; elsewhere in a message an address is there to be fetched.
TEXT_FIELDS = frozenset({"arguments", "content", "output", "prompt", "query", "refusal", "text", "thinking"})
# An address, or a file of the server's: SGLang and vLLM take either for a voice to speak with.
# And vLLM for a picture beside those that are to be changed.
ADDRESS_FIELDS = frozenset(
    {"audio_path", "image_path", "mask_image", "output_path", "ref_audio", "reference_image", "url"}
)
# Spaces are not tried again: a text may have megabytes of them.
REMOTE = re.compile(r"\s*+(?:https?|ftp|file|s3|gs)://", re.IGNORECASE)
PLACE_IN_FIELD = re.compile(r"[.\[].*", re.DOTALL)
# Every message and every value in one is looked at before other calls get their turn.
MOST_MESSAGES = 10_000
MOST_VALUES = 20_000
MOST_INPUTS = 2048
MOST_PROMPTS = 128
MOST_INPUT_TOKENS = 300_000
MOST_DEPTH = 8
# The place of each value is put together from the names around it.
LONGEST_NAME = 256
MOST_STOPS = 16
MOST_CHOICES = 4
# Templates parse the arguments of earlier calls; those with this many brackets are parsed here first.
MOST_ARGUMENT_BRACKETS = 500
MOST_PARSED_CHARACTERS = 2_000_000
MOST_OUTPUT_TOKENS = 10_000_000
LONGEST_SPOKEN_TEXT = 100_000
MOST_PICTURES = 10
MOST_EDITED = 16
TRANSCRIPT_FORMATS = ("json", "text", "srt", "vtt", "verbose_json")


def check_chat(body: Body) -> None:
    _refuse_denied(body)
    check_bounds(body)
    _check_messages(_required(body, "messages", list, "a list with at least one message"))
    for name in ("max_tokens", "max_completion_tokens"):
        check_whole(body, name, least=1, most=MOST_OUTPUT_TOKENS)
    _check_tools(body.get("tools"))
    _check_written(body)


def check_completion(body: Body) -> None:
    """A text to go on with, or several, of OpenAI's first API."""
    _refuse_denied(body, limits=("max_tokens",))
    check_bounds(body)
    prompts = body.get("prompt")
    if prompts is None:
        raise MissingParameterError("prompt")
    if not isinstance(prompts, str | list) or prompts == []:
        raise InvalidValueError("prompt", "a text, or a list of texts or of token lists")
    if isinstance(prompts, list):
        _check_texts(prompts, "prompt", most=MOST_PROMPTS)
    check_whole(body, "max_tokens", least=0, most=MOST_OUTPUT_TOKENS)
    for name in ("echo", "ignore_eos"):
        _check_flag(body, name)
    _check_written(body)


def check_response(body: Body) -> None:
    """A call of OpenAI's Responses API. Nothing is kept between calls, so that everything stands in `input`."""
    _refuse_denied(body, limits=("max_output_tokens",))
    stored = {name for name in STORED_STATE.intersection(body) if body[name]}
    if stored:
        raise UnsupportedParameterError(
            min(stored), "Nothing is kept between calls here: send the whole conversation in 'input', and wait for it."
        )
    check_bounds(body)
    given = _required(body, "input", str | list, "a text that is not empty, or a list of items")
    if isinstance(given, list):
        _check_items(given)
    _check_text(body, "instructions")
    check_whole(body, "max_output_tokens", least=1, most=MOST_OUTPUT_TOKENS)
    check_whole(body, "n", least=1, most=1)
    _check_flat_tools(body.get("tools"), kinds=("function", "custom"))
    _check_flag(body, "stream")


def check_message(body: Body) -> None:
    """A call of Anthropic's Messages API."""
    check_message_to_count(body)
    if body.get("max_tokens") is None:
        raise MissingParameterError("max_tokens")
    check_whole(body, "n", least=1, most=1)
    _check_stops(body, "stop_sequences")
    _check_flag(body, "stream")


def check_message_to_count(body: Body) -> None:
    """The same before it is made, to know how many tokens it would have."""
    _refuse_denied(body, limits=("max_tokens",))
    check_bounds(body)
    check_whole(body, "max_tokens", least=1, most=MOST_OUTPUT_TOKENS)
    _check_messages(_required(body, "messages", list, "a list with at least one message"))
    system = body.get("system")
    if system is not None and not isinstance(system, str | list):
        raise InvalidValueError("system", "a text or a list of parts")
    if isinstance(system, list):
        _check_value(system, "system", name="content", depth=0, values=iter(range(MOST_VALUES)))
    _check_flat_tools(body.get("tools"), kinds=(None, "custom"))


def _check_written(body: Body) -> None:
    """What chats and completions have in common: how many answers, where they end, how they are sent."""
    check_whole(body, "n", least=1, most=MOST_CHOICES)
    _check_stops(body, "stop")
    _check_flag(body, "stream")
    options = body.get("stream_options")
    if options is not None:
        if not isinstance(options, dict):
            raise InvalidValueError("stream_options", "an object")
        check_names(options, within="stream_options.")
        if not body.get("stream"):
            raise UnsupportedParameterError("stream_options", "It is only allowed together with 'stream': true.")
        _check_flag(options, "include_usage", within="stream_options.")


def check_moderation(body: Body) -> None:
    """Texts, or parts of a message, to be judged."""
    _refuse_denied(body)
    check_bounds(body)
    given = _required(body, "input", str | list, "a text that is not empty, or a list of texts or parts")
    _check_not_streamed(body, "Judgements")
    if isinstance(given, list):
        _check_documents(given, "input")


def check_rerank(body: Body) -> None:
    """Documents to be put in order for a query, as Jina's and Cohere's APIs have it."""
    _refuse_denied(body)
    check_bounds(body)
    for name in ("query", "documents"):
        if body.get(name) is None:
            raise MissingParameterError(name)
    if not isinstance(body["query"], str | dict) or not body["query"]:
        raise InvalidValueError("query", "a text that is not empty")
    if not isinstance(body["documents"], list) or not body["documents"]:
        raise InvalidValueError("documents", "a list with at least one text")
    _check_not_streamed(body, "Orders")
    _check_documents([body["query"]], "query")
    _check_documents(body["documents"], "documents")
    check_whole(body, "top_n", least=1, most=MOST_INPUTS)


def check_speech(body: Body) -> None:
    """A text to be spoken."""
    _refuse_denied(body)
    check_bounds(body)
    given = body.get("input")
    if given is None:
        raise MissingParameterError("input")
    if not isinstance(given, str) or not 0 < len(given) <= LONGEST_SPOKEN_TEXT:
        raise InvalidValueError("input", f"a text of at most {LONGEST_SPOKEN_TEXT} characters that is not empty")
    if body.get("stream_format") not in (None, "audio"):
        raise UnsupportedParameterError("stream_format", "Speech comes as audio, while it is made.")
    _refuse_addresses(body, but=("input", "instructions"))


def check_transcript(body: Body) -> None:
    """Speech to be written down. The fields of a form are texts."""
    _check_speech(body)
    if body.get("stream") not in (None, "true", "false"):
        raise InvalidValueError("stream", "true or false")


def check_translation(body: Body) -> None:
    """Speech to be translated."""
    _check_speech(body)
    if body.get("stream") not in (None, "false"):
        raise UnsupportedParameterError("stream", "Translations are not streamed.")


def _check_speech(body: Body) -> None:
    _check_form(body)
    if not _files(body, "file"):
        raise MissingParameterError("file")
    if body.get("response_format", "json") not in TRANSCRIPT_FORMATS:
        raise InvalidValueError("response_format", f"one of {', '.join(TRANSCRIPT_FORMATS)}")


def _check_form(body: Body) -> None:
    _refuse_denied(body)
    for name in body:
        if not FIELD_NAME.fullmatch(name):
            raise InvalidValueError("body", "names of fields in plain letters")


def _files(body: Body, name: str) -> list[Attachment]:
    """What a field of a form holds: files that are not empty, and nothing else."""
    value = body.get(name, [])
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(file, Attachment) and file.content for file in found):
        raise InvalidValueError(name, "a file that is not empty")
    return found


def check_image(body: Body) -> None:
    """A picture to be made."""
    _refuse_denied(body)
    check_bounds(body)
    _check_picture(body)
    _check_not_streamed(body, "Pictures")
    check_whole(body, "n", least=1, most=MOST_PICTURES)


def check_edit(body: Body) -> None:
    """Pictures to be changed, in a form."""
    _check_form(body)
    if not _files(body, "image") + _files(body, "image[]"):
        raise MissingParameterError("image")
    for name in ("mask", "markup"):
        _files(body, name)
    _check_picture(body)
    if body.get("stream") not in (None, "false"):
        raise UnsupportedParameterError("stream", "Pictures are not streamed.")
    if body.get("n", "1") not in map(str, range(1, MOST_PICTURES + 1)):
        raise InvalidValueError("n", f"a whole number from 1 to {MOST_PICTURES}")


def _check_picture(body: Body) -> None:
    _required(body, "prompt", str, "a text that is not empty")
    if body.get("response_format") not in (None, "b64_json"):
        raise UnsupportedParameterError("response_format", "Pictures come in the answer, as b64_json.")
    _refuse_addresses(body, but=("prompt", "negative_prompt"))


def check_embeddings(body: Body) -> None:
    _refuse_denied(body)
    check_bounds(body)
    given = _required(body, "input", str | list, "a text that is not empty, or a list of texts or of token lists")
    if isinstance(given, list):
        _check_texts(given, "input", most=MOST_INPUTS)
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise InvalidValueError("encoding_format", "'float' or 'base64'")
    _check_not_streamed(body, "Embeddings")
    messages = body.get("messages")
    if isinstance(messages, list):
        _check_messages(messages)


def _check_texts(given: list[Any], name: str, *, most: int) -> None:
    """Refuse what is neither texts nor tokens: some servers take objects with the address of an image, and fetch it."""
    are_tokens = all(type(item) is int for item in given)
    if not are_tokens and len(given) > most:
        raise InvalidValueError(name, f"at most {most} texts or token lists")
    tokens = len(given) if are_tokens else sum(len(item) for item in given if isinstance(item, list))
    if tokens > MOST_INPUT_TOKENS:
        raise InvalidValueError(name, f"at most {MOST_INPUT_TOKENS} tokens")
    if are_tokens:
        return
    for item in given:
        if not (isinstance(item, str) or (isinstance(item, list) and all(type(token) is int for token in item))):
            raise InvalidValueError(name, "a text that is not empty, or a list of texts or of token lists")


def _check_documents(given: list[Any], name: str) -> None:
    """Texts, or objects with texts and pictures in them."""
    if len(given) > MOST_INPUTS:
        raise InvalidValueError(name, f"at most {MOST_INPUTS} entries")
    values = iter(range(MOST_VALUES))
    for index, item in enumerate(given):
        if not isinstance(item, str | dict):
            raise InvalidValueError(f"{name}[{index}]", "a text or an object")
        if isinstance(item, dict):
            _check_value(item, f"{name}[{index}]", name="content", depth=0, values=values)


def _check_items(items: list[Any]) -> None:
    if len(items) > MOST_MESSAGES:
        raise InvalidValueError("input", f"at most {MOST_MESSAGES} items")
    values = iter(range(MOST_VALUES))
    parsed = 0
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise InvalidValueError(f"input[{index}]", "an object")
        if item.get("type") == "item_reference":
            raise UnsupportedParameterError(f"input[{index}].type", "Nothing is kept here that it could refer to.")
        parsed = _check_arguments(item.get("arguments"), f"input[{index}].arguments", parsed=parsed)
        _check_value(item, f"input[{index}]", name="content", depth=0, values=values)


def _check_flat_tools(tools: Any, *, kinds: tuple[str | None, ...]) -> None:
    """Refuse tools of the server's own: they would search, run code or call addresses from where it stands."""
    if tools is None:
        return
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise InvalidValueError("tools", "a list of objects")
    for number, tool in enumerate(tools):
        check_names(tool, within=f"tools[{number}].")
        if tool.get("type") not in kinds:
            raise UnsupportedParameterError(f"tools[{number}].type", "Only tools that you run yourself can be offered.")
        if not isinstance(tool.get("name"), str):
            raise InvalidValueError(f"tools[{number}].name", "a text")


def _refuse_addresses(body: Body, *, but: tuple[str, ...]) -> None:
    """Refuse addresses that a server would fetch, in all fields but those that hold text for the model."""
    values = iter(range(MOST_VALUES))
    for name, value in body.items():
        if name not in but:
            # In a form, `url[]` is a list of what `url` is.
            _check_value(value, name, name=name.removesuffix("[]"), depth=0, values=values)


def _check_not_streamed(body: Body, what: str) -> None:
    if body.get("stream"):
        raise UnsupportedParameterError("stream", f"{what} are not streamed.")


def _check_stops(body: Body, name: str) -> None:
    stops = body.get(name)
    if isinstance(stops, list) and len(stops) > MOST_STOPS:
        raise InvalidValueError(name, f"at most {MOST_STOPS} texts")


def _required(body: Body, name: str, kind: type | UnionType, expected: str) -> Any:
    """The field, which must be there, of that kind and not empty."""
    value = body.get(name)
    if value is None:
        raise MissingParameterError(name)
    if not isinstance(value, kind) or not value:
        raise InvalidValueError(name, expected)
    return value


def _check_text(body: Body, name: str) -> None:
    if body.get(name) is not None and not isinstance(body[name], str):
        raise InvalidValueError(name, "a text")


def _refuse_denied(body: Body, *, limits: tuple[str, ...] = ("max_completion_tokens", "max_tokens")) -> None:
    """`limits` are the fields that may say how long the answer is to be."""
    denied = DENIED_FIELDS.intersection(body)
    denied |= {name for name in OUTPUT_LIMITS.intersection(body).difference(limits) if body[name] is not None}
    if denied:
        raise UnsupportedParameterError(min(denied))
    arguments = body.get("chat_template_kwargs")
    if isinstance(arguments, dict) and (denied := DENIED_TEMPLATE_ARGUMENTS.intersection(arguments)):
        raise UnsupportedParameterError(f"chat_template_kwargs.{min(denied)}")


def _check_messages(messages: list[Any]) -> None:
    if len(messages) > MOST_MESSAGES:
        raise InvalidValueError("messages", f"at most {MOST_MESSAGES} messages")
    values = iter(range(MOST_VALUES))
    parsed = 0
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidValueError(f"messages[{index}]", "an object")
        check_names(message, within=f"messages[{index}].")
        role = message.get("role")
        if role is None:
            raise MissingParameterError(f"messages[{index}].role")
        if not isinstance(role, str):
            raise InvalidValueError(f"messages[{index}].role", "a text")
        content = message.get("content")
        if content is not None and not isinstance(content, str | list | dict):
            raise InvalidValueError(f"messages[{index}].content", "a text or a list of parts")
        if message.get("tools"):
            # SGLang makes grammars of these as well.
            check_schema(message["tools"], f"messages[{index}].tools")
        if message.get("tool_calls") is not None:
            parsed = _check_tool_calls(message["tool_calls"], f"messages[{index}].tool_calls", parsed=parsed)
        if isinstance(content, list | dict):
            if isinstance(content, list) and not all(isinstance(part, dict | list | str) for part in content):
                raise InvalidValueError(f"messages[{index}].content", "a text or a list of parts")
            _check_value(content, f"messages[{index}].content", name="content", depth=0, values=values)


def _check_tool_calls(calls: Any, where: str, *, parsed: int) -> int:
    """Refuse what servers cannot read: llama.cpp calls it a fault of its own.

    `parsed` is how many characters of the body's arguments were parsed to see it; gives the same for what follows.
    """
    if not isinstance(calls, list):
        raise InvalidValueError(where, "a list of calls")
    for number, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise InvalidValueError(f"{where}[{number}]", "an object with a 'function' that has a 'name'")
        parsed = _check_arguments(function.get("arguments"), f"{where}[{number}].function.arguments", parsed=parsed)
    return parsed


def _check_arguments(arguments: Any, where: str, *, parsed: int) -> int:
    if not isinstance(arguments, str) or arguments.count("[") + arguments.count("{") <= MOST_ARGUMENT_BRACKETS:
        return parsed
    parsed += len(arguments)
    if parsed > MOST_PARSED_CHARACTERS:
        raise InvalidValueError(where, f"at most {MOST_PARSED_CHARACTERS} characters of JSON in all arguments")
    try:
        orjson.loads(arguments)
    except orjson.JSONDecodeError:
        raise InvalidValueError(where, "JSON") from None
    return parsed


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
        raise InvalidValueError(PLACE_IN_FIELD.sub("", where), f"at most {MOST_VALUES} values in its parts")
    if isinstance(value, str):
        is_address = name in ADDRESS_FIELDS or name.endswith("_url")
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
        # What the model said to a tool of the client's own is not for the server to act upon.
        is_tool_use = value.get("type") == "tool_use"
        for field, item in value.items():
            if is_tool_use and field == "input":
                check_size({field: item})
                continue
            if field in DENIED_PARTS:
                raise UnsupportedParameterError(f"{where}.{field}")
            if len(field) > LONGEST_NAME:
                raise InvalidValueError(where, f"names of at most {LONGEST_NAME} characters")
            _check_value(item, f"{where}.{field}", name=field, depth=depth + 1, values=values)


def _check_flag(body: Mapping[str, Any], name: str, *, within: str = "") -> None:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidValueError(within + name, "true or false")

"""How much of anything a body may hold: what costs the client a line must not cost a server its memory or its life."""

from collections.abc import Iterable
from typing import Any

import orjson

from common.errors import InvalidValueError, UnsupportedParameterError

# Every value in a body is looked at before other calls get their turn; texts to embed are counted apart.
MOST_FIELDS = 200
MOST_VALUES = 100_000
MOST_DEPTH = 64
MOST_LOGPROBS = 20
MOST_BIASES = 300
MOST_BREAKERS = 16
MOST_SAMPLERS = 32
LONGEST_BREAKER = 64
# As many tokens are looked back at for each one written.
FURTHEST_BACK = 65_536

# Servers make a grammar of each of these, by code that descends as deep as they go.
SCHEMA_FIELDS = (
    "response_format",
    "text",
    "output_format",
    "output_config",
    "tools",
    "functions",
    "json_schema",
    "guided_json",
    "guided_choice",
    "structured_outputs",
)
# Some servers take these as text, and read it themselves. Text in the others is a name, such as that of a sound's form.
SCHEMA_TEXTS = frozenset({"json_schema", "guided_json", "guided_choice"})
PATTERN_FIELDS = frozenset({"pattern", "regex", "guided_regex"})
DENIED_IN_SCHEMAS = frozenset({"grammar", "structural_tag", "ebnf"})
# What stands in these is called as its caller likes.
NAMED_BY_CALLERS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
# How many entries each of these may have.
LISTS = {
    "logit_bias": MOST_BIASES,
    "allowed_token_ids": MOST_BIASES,
    "bad_words": MOST_BIASES,
    "bad_words_ids": MOST_BIASES,
    "stop_token_ids": MOST_BIASES,
    "dry_sequence_breakers": MOST_BREAKERS,
    "samplers": MOST_SAMPLERS,
}
LOOKS_BACK = ("dry_penalty_last_n", "repeat_last_n")
BOUNDED_FIELDS = PATTERN_FIELDS.union(SCHEMA_FIELDS, LISTS, LOOKS_BACK, ("logprobs", "top_logprobs"))
LARGEST_SCHEMA_BYTES = 64 * 1024
LONGEST_PATTERN = 512
LONGEST_TOLD_NAME = 64


def check_bounds(body: dict[str, Any]) -> None:
    """Raise InvalidValueError or UnsupportedParameterError, naming the field, for more than any server should take."""
    if len(body) > MOST_FIELDS:
        raise InvalidValueError("body", f"at most {MOST_FIELDS} fields")
    check_names(body)
    check_size({name: value for name, value in body.items() if name != "input"})
    # Most bodies have few of these, and every call is looked through.
    if BOUNDED_FIELDS.isdisjoint(body):
        return
    _check_logprobs(body)
    for name, most in LISTS.items():
        _check_length(body, name, most=most)
    for name in LOOKS_BACK:
        check_whole(body, name, least=-1, most=FURTHEST_BACK)
    breakers = body.get("dry_sequence_breakers")
    if isinstance(breakers, list) and any(len(str(breaker)) > LONGEST_BREAKER for breaker in breakers):
        raise InvalidValueError("dry_sequence_breakers", f"texts of at most {LONGEST_BREAKER} characters")
    for name in SCHEMA_FIELDS:
        value = body.get(name)
        if value and (name in SCHEMA_TEXTS or not isinstance(value, str)):
            check_schema(value, name)
    for name in PATTERN_FIELDS.intersection(body):
        _check_pattern(body[name], name)


def check_names(fields: Iterable[str], *, within: str = "") -> None:
    """Raise UnsupportedParameterError for a name that some servers take for another.

    Those written in Go, such as Ollama, do not tell "Model" from "model", nor the Kelvin sign from a "k", and heed
    whichever comes last: what was checked and counted would not be what is done.
    """
    # One look at all of them together: capitals and other letters are rare.
    together = "".join(fields)
    if together.isascii() and together.islower():
        return
    for name in fields:
        if not name.isascii() or name != name.lower():
            raise UnsupportedParameterError(within + name[:LONGEST_TOLD_NAME], "Fields are written in lower case.")


def check_whole(body: dict[str, Any], name: str, *, least: int, most: int) -> None:
    """Raise InvalidValueError unless the field is absent or a whole number within the bounds."""
    value = body.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidValueError(name, f"a whole number from {least} to {most}")


def check_size(body: dict[str, Any]) -> None:
    """Raise InvalidValueError for more values, or deeper ones, than are looked at in one go."""
    values = 0
    level: list[Any] = [body]
    for _depth in range(MOST_DEPTH):
        deeper: list[Any] = []
        for container in level:
            values += len(container)
            if values > MOST_VALUES:
                raise InvalidValueError("body", f"at most {MOST_VALUES} values")
            inner = container.values() if type(container) is dict else container
            deeper += [value for value in inner if type(value) is dict or type(value) is list]
        if not deeper:
            return
        level = deeper
    raise InvalidValueError("body", f"at most {MOST_DEPTH} levels of nesting")


def _check_logprobs(body: dict[str, Any]) -> None:
    check_whole(body, "top_logprobs", least=0, most=MOST_LOGPROBS)
    if not isinstance(body.get("logprobs"), bool):
        check_whole(body, "logprobs", least=0, most=MOST_LOGPROBS)


def _check_length(body: dict[str, Any], name: str, *, most: int) -> None:
    value = body.get(name)
    # A text of samplers has a letter for each.
    if isinstance(value, list | dict | str) and len(value) > most:
        raise InvalidValueError(name, f"at most {most} entries")


def check_schema(schema: Any, name: str) -> None:
    """Raise InvalidValueError or UnsupportedParameterError for a schema that a server's parser should not see."""
    if isinstance(schema, str) and len(schema) > LARGEST_SCHEMA_BYTES:
        raise InvalidValueError(name, f"at most {LARGEST_SCHEMA_BYTES} bytes of JSON")
    try:
        # Some servers take a schema as text, and read it themselves.
        parsed = orjson.loads(schema) if isinstance(schema, str) else schema
        size = len(orjson.dumps(parsed))
    except (orjson.JSONDecodeError, TypeError):
        raise InvalidValueError(name, "a JSON schema") from None
    if size > LARGEST_SCHEMA_BYTES:
        raise InvalidValueError(name, f"at most {LARGEST_SCHEMA_BYTES} bytes of JSON")
    if isinstance(parsed, list | dict):
        check_size({name: parsed})
        _check_parts(parsed, name)


def _check_parts(schema: Any, name: str) -> None:
    """Refuse what is no schema wherever it stands: tools and forms of answers may have a grammar instead."""
    waiting = [(schema, name, False)]
    while waiting:
        found, where, is_named_by_caller = waiting.pop()
        if isinstance(found, list):
            waiting += [(item, f"{where}[{index}]", False) for index, item in enumerate(found)]
        if not isinstance(found, dict):
            continue
        if not is_named_by_caller:
            _refuse_grammar(found, where)
        for field, value in found.items():
            if field in PATTERN_FIELDS:
                _check_pattern(value, name)
            elif field == "json" and isinstance(value, str):
                check_schema(value, name)
            is_named = field in NAMED_BY_CALLERS and not is_named_by_caller
            waiting.append((value, f"{where}.{field[:LONGEST_TOLD_NAME]}", is_named))


def _refuse_grammar(found: dict[str, Any], where: str) -> None:
    denied = DENIED_IN_SCHEMAS.intersection(found)
    if denied:
        raise UnsupportedParameterError(f"{where}.{min(denied)}")
    if isinstance(kind := found.get("type"), str) and kind in DENIED_IN_SCHEMAS:
        raise UnsupportedParameterError(f"{where}.type")


def _check_pattern(pattern: Any, name: str) -> None:
    if isinstance(pattern, str) and len(pattern) > LONGEST_PATTERN:
        raise InvalidValueError(name, f"patterns of at most {LONGEST_PATTERN} characters")

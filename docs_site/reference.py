"""The REST API's reference, read off its own OpenAPI schema: nothing is written twice, so nothing is out of date."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.utils.text import slugify
from django.utils.translation import get_language
from drf_spectacular.generators import SchemaGenerator

from common import markdown

METHODS = ("get", "post", "put", "patch", "delete")
DEEPEST = 4
# As they stand in the schema: from here on every answer is a problem, and told once for all.
REFUSED_FROM = "400"
# The schema lists the values of a field with what each is called; one that is called what it is says nothing.
CALLED_WHAT_IT_IS = re.compile(r"^\* `(.+)` - \1$\n?", re.MULTILINE)
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a body. `depth` says how far inside another one it stands."""

    name: str
    type: str
    is_required: bool
    text: str
    depth: int = 0

    @property
    def html(self) -> str:
        """The text, which may hold a list of values and code, as safe HTML."""
        return markdown.render(CALLED_WHAT_IT_IS.sub("", self.text))


@dataclass(frozen=True)
class Answer:
    """What an operation may answer with."""

    status: str
    text: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Operation:
    """One method at one address."""

    id: str
    method: str
    path: str
    title: str
    text: str
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    answers: tuple[Answer, ...]
    refusals: tuple[str, ...]
    sample: str


@dataclass(frozen=True)
class Section:
    """What belongs to one thing of the API, such as keys."""

    slug: str
    operations: tuple[Operation, ...]

    @property
    def title(self) -> str:
        return self.slug.replace("-", " ").capitalize()


def sections() -> tuple[Section, ...]:
    """The whole reference, by thing, in the reader's language as far as the schema is translated."""
    return _sections(get_language() or "en")


def section(slug: str) -> Section | None:
    return next((one for one in sections() if one.slug == slug), None)


@lru_cache(maxsize=8)
def _sections(language: str) -> tuple[Section, ...]:
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    read = _Reader(schema.get("components", {}).get("schemas", {}))
    found: dict[str, list[Operation]] = {}
    for path, methods in schema["paths"].items():
        for method in METHODS:
            if method in methods:
                operation = methods[method]
                found.setdefault(slugify(operation["tags"][0]), []).append(read.operation(method, path, operation))
    return tuple(Section(slug, tuple(operations)) for slug, operations in sorted(found.items()))


class _Reader:
    def __init__(self, components: Schema) -> None:
        self._components = components

    def operation(self, method: str, path: str, found: Schema) -> Operation:
        text = str(found.get("description", ""))
        title, _stop, rest = text.partition("\n\n")
        body = _content(found.get("requestBody", {}))
        answers = sorted(found["responses"].items())
        return Operation(
            id=found["operationId"],
            method=method.upper(),
            path=path,
            title=" ".join(title.replace("`", "").split()),
            text=" ".join(rest.split()),
            parameters=tuple(self._parameter(one) for one in found.get("parameters", [])),
            body=tuple(self._fields(body)),
            answers=tuple(self._answer(status, answer) for status, answer in answers if status < REFUSED_FROM),
            refusals=tuple(status for status, _answer in answers if status >= REFUSED_FROM),
            sample=self._sample(method, path, found.get("parameters", []), body),
        )

    def _parameter(self, found: Schema) -> Field:
        return Field(
            name=found["name"],
            type=self._type(found["schema"]),
            is_required=bool(found.get("required")),
            text=str(found.get("description") or found["schema"].get("description", "")),
        )

    def _answer(self, status: str, found: Schema) -> Answer:
        schema = self._resolved(_content(found))
        return Answer(status, " ".join(str(schema.get("description", "")).split()), tuple(self._fields(schema)))

    def _fields(self, schema: Schema, depth: int = 0) -> Iterator[Field]:
        schema = self._resolved(schema)
        if schema.get("type") == "array":
            schema = self._resolved(schema["items"])
        required = schema.get("required", [])
        for name, inner in schema.get("properties", {}).items():
            resolved = self._resolved(inner)
            text = str(inner.get("description") or resolved.get("description", ""))
            yield Field(name, self._type(inner), name in required, text, depth)
            if depth < DEEPEST:
                yield from self._fields(inner, depth + 1)

    def _resolved(self, schema: Schema) -> Schema:
        """The schema behind a reference; of alternatives the first that says something."""
        if "$ref" in schema:
            return self._resolved(self._components[schema["$ref"].rpartition("/")[2]])
        for word in ("allOf", "oneOf", "anyOf"):
            for choice in schema.get(word, []):
                resolved = self._resolved(choice)
                if resolved.get("type") != "null" and resolved.get("enum") != [""]:
                    return {**resolved, **{key: value for key, value in schema.items() if key != word}}
        return schema

    def _type(self, schema: Schema) -> str:
        schema = self._resolved(schema)
        if "enum" in schema:
            return " | ".join(json.dumps(value) for value in schema["enum"])
        if "const" in schema:
            return json.dumps(schema["const"])
        types = schema.get("type", "object")
        names = list(types) if isinstance(types, list) else [types]
        if "array" in names:
            names[names.index("array")] = f"{self._type(schema.get('items', {}))}[]"
        if schema.get("format") and "string" in names:
            names[names.index("string")] = str(schema["format"])
        return " | ".join(names)

    def _sample(self, method: str, path: str, parameters: list[Schema], body: Schema) -> str:
        required = [one for one in parameters if one["in"] == "query" and one.get("required")]
        query = "&".join(f"{one['name']}=…" for one in required)
        lines = [f'curl "{settings.PUBLIC_URL}{path}{"?" if query else ""}{query}"']
        if method != "get":
            lines.append(f"-X {method.upper()}")
        lines.append('-H "Authorization: Bearer $LYCEUM_MANAGEMENT_KEY"')
        if body:
            lines += [
                '-H "Content-Type: application/json"',
                f"-d '{json.dumps(self._example(body), ensure_ascii=False)}'",
            ]
        return " \\\n  ".join(lines)

    def _example(self, schema: Schema) -> Any:
        schema = self._resolved(schema)
        if "default" in schema:
            return schema["default"]
        if "enum" in schema:
            return schema["enum"][0]
        types = schema.get("type", "object")
        name = types[0] if isinstance(types, list) else types
        if name == "object":
            wanted = schema.get("required") or list(schema.get("properties", {}))[:1]
            properties = schema.get("properties", {})
            return {
                key: self._example(properties[key])
                for key in wanted
                if key in properties and not properties[key].get("readOnly")
            }
        if name == "array":
            return [self._example(schema.get("items", {}))]
        return {"integer": 1, "number": 1, "boolean": True, "null": None}.get(name, "…")


def _content(found: Schema) -> Schema:
    """The schema of a body, whatever its media type; empty when there is none."""
    for media in found.get("content", {}).values():
        schema: Schema = media.get("schema", {})
        return schema
    return {}

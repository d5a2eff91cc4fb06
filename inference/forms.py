"""Bodies that are forms: what a client attached, and how it goes on to a server."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# No client knows it, so that nothing attached can end its part.
BOUNDARY = secrets.token_hex(16)
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
KIND = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)
FIELD_NAME = re.compile(r"[\w.-]{1,60}(\[\w{0,60}\])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a form, by the name and of the kind that its sender says."""

    filename: str
    kind: str
    content: bytes


def encoded(body: dict[str, Any]) -> bytes:
    """The fields as a form: texts, attachments, and lists of either under one name. Names are to fit FIELD_NAME."""
    parts = [_part(name, item) for name, item in _items(body)]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def text_bytes(body: dict[str, Any]) -> int:
    """How much of the form is text, in bytes."""
    return sum(len(str(item).encode()) for _name, item in _items(body) if not isinstance(item, Attachment))


def _items(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in body.items():
        for item in value if isinstance(value, list) else [value]:
            yield name, item


def _part(name: str, value: Any) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    if not isinstance(value, Attachment):
        return f"{head}\r\n\r\n{value}\r\n".encode()
    filename = re.sub(r'["\\\x00-\x1f\x7f]', "_", value.filename)
    kind = value.kind if KIND.fullmatch(value.kind) else "application/octet-stream"
    return f'{head}; filename="{filename}"\r\nContent-Type: {kind}\r\n\r\n'.encode() + value.content + b"\r\n"

"""What is answered under `/v1/files` and `/v1/batches`, by path and method; but for the bytes of files themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from batches import batches, files
from batches.asked import Asked


@dataclass(frozen=True, slots=True)
class View:
    """What answers one method at one path."""

    answer: Callable[[Asked], dict[str, Any]]
    takes_body: bool = False
    makes: bool = False
    """Whether it makes something, which an `Idempotency-Key` keeps from being made twice."""


ROUTES: Mapping[str, Mapping[str, View]] = {
    "files": {"GET": View(files.listing)},
    "files/{file_id}": {"GET": View(files.one), "DELETE": View(files.delete)},
    "batches": {"GET": View(batches.listing), "POST": View(batches.create, takes_body=True, makes=True)},
    "batches/{batch_id}": {"GET": View(batches.one)},
    "batches/{batch_id}/cancel": {"POST": View(batches.cancel)},
}

"""The endpoints under `/v1` that reach an inference server: one entry each, and a path not in the table does not exist.

An entry says where the endpoint is, what a model must be able to do to serve it, how a body is checked, which fields
bound its answer, where the results are in it, how it is streamed, and in which shape it fails. The model's name is in
`model` at all of them, and the count in `usage` where a server gives one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from common.errors import ApiError, InvalidValueError, MissingParameterError
from inference.checks import (
    MOST_EDITED,
    Body,
    check_chat,
    check_completion,
    check_edit,
    check_embeddings,
    check_image,
    check_message,
    check_message_to_count,
    check_moderation,
    check_rerank,
    check_response,
    check_speech,
    check_transcript,
    check_translation,
)
from inference.counting import TokenCount
from inference.shapes import ShapeOfErrors, anthropic_error
from inference.streams import AnswerStream, ChatStream, MessageStream, ResponseStream, TranscriptStream
from inference.unbounded import most_of_pictures, most_of_transcript
from inference.uses import Use

# Its newer models refuse `max_tokens`. Every other server knows it; LM Studio, Ollama and many more know nothing else.
OPENAIS_OWN = re.compile(r"https://(?:[\w.-]+\.)?(?:api\.openai\.com|openai\.azure\.com)(?=[:/])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint. `path` is below `/v1`, here and at the server, and is its name in usage events."""

    path: str
    needs: Use
    check: Callable[[Body], None]
    results: str = ""
    """The field with the results, a list, a text or a number; empty where the answer is never JSON."""
    other_answers: tuple[str, ...] = ()
    """How the content types begin of answers that are no JSON."""
    files: Mapping[str, int] = field(default_factory=dict)
    """The fields of its form that hold files, and how many each may; empty where the body is JSON."""
    output_limits: tuple[str, ...] = ()
    """Fields that bound the answer, the newer before the older."""
    most_counted: Callable[[Body, int | None], TokenCount] | None = None
    """Where an answer that no field bounds costs something: the most tokens of it, and of the files it is made from, of
    a model that writes so many at once if that is known."""
    stream: type[AnswerStream] | None = None
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Fields that a server is sent with this value, whatever the client says."""
    fills_in: bool = False
    """Whether every answer has a `model` and a `usage`: what the server leaves out is added."""
    is_optional: bool = True
    """Whether servers that host a model for this use may lack the path all the same."""
    is_free: bool = False
    """Whether no model works for it, so that its calls are counted and no tokens."""
    shape_of_errors: ShapeOfErrors = ApiError.body

    @property
    def takes_form(self) -> bool:
        """Whether the body is a form with files in it, and not JSON."""
        return bool(self.files)

    def asked_output_tokens(self, body: Body) -> int | None:
        """The most tokens each answer may have as the client put it; None when the client set no bound.

        Servers disagree on which of two goes first, so the larger counts.
        """
        asked = [value for name in self.output_limits if isinstance(value := body.get(name), int)]
        return max(asked, default=None)

    def limit_at(self, base_url: str) -> str:
        """The one of `output_limits` that the server at this address is sure to heed."""
        return self.output_limits[0 if OPENAIS_OWN.match(base_url) else -1]

    def is_streamed(self, body: Body) -> bool:
        """Whether the client asks for events instead of one object."""
        # What a form says is text.
        return self.stream is not None and body.get("stream") == ("true" if self.takes_form else True)


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
    """How many answers are asked for at once: so many to each prompt."""
    value, prompts = body.get("n"), body.get("prompt")
    number = value if isinstance(value, int) and value > 0 else 1
    if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
        number *= len(prompts)
    return number


CHAT_COMPLETIONS = Endpoint(
    path="chat/completions",
    needs=Use.CHAT,
    check=check_chat,
    results="choices",
    output_limits=("max_completion_tokens", "max_tokens"),
    stream=ChatStream,
    fills_in=True,
    is_optional=False,
)
EMBEDDINGS = Endpoint(
    path="embeddings",
    needs=Use.EMBEDDINGS,
    check=check_embeddings,
    results="data",
    fills_in=True,
    is_optional=False,
)
_WRITTEN_DOWN: dict[str, Any] = {
    "needs": Use.TRANSCRIPTION,
    "results": "text",
    "other_answers": ("text/plain", "text/vtt", "application/x-subrip"),
    "files": {"file": 1},
    "most_counted": most_of_transcript,
}
_PICTURES: dict[str, Any] = {
    "needs": Use.IMAGES,
    "results": "data",
    "sets": {"response_format": "b64_json"},
    "most_counted": most_of_pictures,
}
_ALL = (
    CHAT_COMPLETIONS,
    Endpoint(
        path="completions",
        needs=Use.CHAT,
        check=check_completion,
        results="choices",
        output_limits=("max_tokens",),
        stream=ChatStream,
        fills_in=True,
    ),
    EMBEDDINGS,
    Endpoint(
        path="responses",
        needs=Use.CHAT,
        check=check_response,
        results="output",
        output_limits=("max_output_tokens",),
        stream=ResponseStream,
        sets={"store": False},
    ),
    Endpoint(
        path="messages",
        needs=Use.CHAT,
        check=check_message,
        results="content",
        output_limits=("max_tokens",),
        stream=MessageStream,
        shape_of_errors=anthropic_error,
    ),
    Endpoint(
        path="messages/count_tokens",
        needs=Use.CHAT,
        check=check_message_to_count,
        results="input_tokens",
        is_free=True,
        shape_of_errors=anthropic_error,
    ),
    Endpoint(path="moderations", needs=Use.MODERATION, check=check_moderation, results="results"),
    Endpoint(path="rerank", needs=Use.RERANKING, check=check_rerank, results="results"),
    Endpoint(
        path="audio/speech",
        needs=Use.SPEECH,
        check=check_speech,
        other_answers=("audio/", "application/octet-stream"),
    ),
    Endpoint(path="audio/transcriptions", check=check_transcript, stream=TranscriptStream, **_WRITTEN_DOWN),
    Endpoint(path="audio/translations", check=check_translation, **_WRITTEN_DOWN),
    Endpoint(path="images/generations", check=check_image, **_PICTURES),
    Endpoint(
        path="images/edits",
        check=check_edit,
        files={"image": MOST_EDITED, "image[]": MOST_EDITED, "mask": 1, "markup": 1},
        **_PICTURES,
    ),
)

ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType({entry.path: entry for entry in _ALL})

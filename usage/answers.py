"""The answer to a metered call: whole, or frame by frame; and how it ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Self

from common.errors import ApiError, UnsupportedParameterError, UpstreamError, UpstreamTimeoutError
from inference.answers import WholeAnswer, whole_answer
from inference.client import Reply
from inference.failures import AttemptFailedError
from inference.streams import AnswerStream, EventSplitter
from usage.call import Call, CallUsage, recorded
from usage.events import CLIENT_CLOSED

# What times, numbers and lines of subtitles are made of: the server adds it.
SUBTITLE_MARKS = b"0123456789:,.->\r\n"

Settle = Callable[[int, str], None]
"""Ends a streamed call with a status and the code of an error."""


class Answer:
    """An answer that has begun well. `body` is there when it is not streamed, and its settlement is then on its way.

    A streamed one is read through `frames`; leaving that early closes the server's connection and settles. `usage` is
    known once the answer is finished, either way. `content_type` is empty but for an answer that is no JSON: its frames
    are its bytes.
    """

    def __init__(
        self,
        call: Call,
        *,
        body: bytes | bytearray | None = None,
        source: "Frames | Bytes | None" = None,
        content_type: str = "",
    ) -> None:
        self._call = call
        self._source = source
        self.body = body
        self.content_type = content_type
        self.headers = call.admission.headers if call.admission is not None else {}
        if call.model.notices:
            self.headers = {**self.headers, **call.model.notices}

    @property
    def usage(self) -> CallUsage | None:
        return self._call.usage

    @property
    def upstream_seconds(self) -> float:
        """How long the inference server took until the answer began, or was whole when it is not streamed."""
        return self._call.upstream_seconds

    def frames(self) -> "Frames | Bytes":
        """The stream's server-sent events, as the client may see them. A failure on the way is the last of them."""
        if self._source is None:
            raise RuntimeError("This answer is not streamed: read its body.")
        return self._source

    async def aclose(self) -> None:
        """Leave the answer, wherever it is. Does nothing to a finished one."""
        if self._source is not None:
            await self._source.aclose()


class Frames(AsyncIterator[bytes]):
    """The frames of one streamed answer."""

    def __init__(self, call: Call, stream: AnswerStream, opening: "Opening", settle: "Settle") -> None:
        self._call = call
        self._stream = stream
        self._settle = settle
        self._reply = opening.reply
        self._splitter = opening.splitter
        self._pieces = opening.pieces
        self._ready: list[bytes] = opening.frames
        self._failure = opening.failure
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            while not self._ready:
                if self._is_over:
                    raise StopAsyncIteration
                if self._failure is not None:
                    raise self._failure
                if self._stream.is_done:
                    await self._complete()
                else:
                    await self._read()
        except ApiError as error:
            return await self._fail(error)
        except asyncio.CancelledError:
            self._leave()
            raise
        frames, self._ready = self._ready, []
        return frames[0] if len(frames) == 1 else b"".join(frames)

    async def aclose(self) -> None:
        """Hang up: the server notices by its closed connection, and the call is settled with what came."""
        self._leave()
        await recorded(self._call)

    async def _read(self) -> None:
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            rest = self._splitter.rest()
            if rest:
                self._take(rest)
            if not self._stream.is_done and not self._stream.is_finished:
                raise UpstreamError(
                    "The model's server closed the connection before the answer was complete."
                ) from None
            self._stream.is_done = True
        else:
            for data in self._splitter.feed(piece):
                self._take(data)

    def _take(self, data: bytes) -> None:
        frame = self._stream.take(data)
        if self._call.first_token_at is None and self._stream.has_content:
            self._call.first_token_at = time.perf_counter()
        if frame:
            self._ready.append(frame)

    async def _complete(self) -> None:
        self._is_over = True
        likely = self._call.prompt.likely_tokens
        self._ready.append(self._stream.ending(likely_prompt=likely))
        self._settle(200, "")
        # The last frame tells the client that all is done: what it used is on record by then.
        await recorded(self._call)
        # And by now the connection has most likely seen the end of the answer, so that it can be used again.
        self._reply.release()

    async def _fail(self, error: ApiError) -> bytes:
        error = self._call.ended_by or error
        self._is_over = True
        self._reply.close()
        self._settle(error.status, error.ledger_code)
        waiting, self._ready = self._ready, []
        return b"".join([*waiting, self._stream.failure(error)])

    def _leave(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._reply.close()
            self._settle(CLIENT_CLOSED, "client_closed")


class Bytes(AsyncIterator[bytes]):
    """An answer that is no JSON, as it is made. One that breaks off raises: only a cut connection tells the client."""

    def __init__(self, call: Call, reply: Reply, first: "FirstBytes", settle: "Settle") -> None:
        self._call = call
        self._reply = reply
        self._first: bytes | None = first.piece
        self._pieces = first.pieces
        self._settle = settle
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._first is not None:
            piece, self._first = self._first, None
            return self._taken(piece)
        if self._is_over:
            raise StopAsyncIteration
        try:
            return self._taken(await anext(self._pieces))
        except StopAsyncIteration:
            self._end(200, "")
            await recorded(self._call)
            self._reply.release()
            raise
        except ApiError as error:
            told = self._call.ended_by or error
            self._reply.close()
            self._end(told.status, told.ledger_code)
            raise told from error

    async def aclose(self) -> None:
        """Hang up, unless it is over: the server notices by its closed connection."""
        if not self._is_over:
            self._reply.close()
            self._end(CLIENT_CLOSED, "client_closed")
        await recorded(self._call)

    def _taken(self, piece: bytes) -> bytes:
        if self._call.endpoint.results:
            # What would be a text of the answer as JSON is one in a form that holds no count as well.
            self._call.characters += len(piece.translate(None, SUBTITLE_MARKS).decode(errors="ignore"))
        return piece

    def _end(self, status: int, error_code: str) -> None:
        self._is_over = True
        self._settle(status, error_code)


@dataclass(slots=True)
class FirstBytes:
    """The first of an answer's bytes, and how to read on."""

    piece: bytes
    pieces: AsyncIterator[bytes]


async def begin_bytes(reply: Reply, kinds: tuple[str, ...]) -> FirstBytes:
    """Read an answer that is no JSON up to its first bytes: until then a failure is an ordinary error.

    One of none of these kinds is a page of some server in between.
    """
    has_begun = False
    try:
        if not reply.content_type.startswith(kinds):
            raise AttemptFailedError(UpstreamError("The model's server sent something else."), elsewhere=True)
        pieces = reply.pieces()
        first = FirstBytes(await anext(pieces), pieces)
        has_begun = True
        return first
    except StopAsyncIteration:
        raise AttemptFailedError(UpstreamError("The model's server sent an empty answer."), is_servers=True) from None
    except ApiError as error:
        raise AttemptFailedError(error, is_servers=True) from error
    finally:
        if not has_begun:
            reply.close()


@dataclass(slots=True)
class Opening:
    """A stream up to its first frame."""

    reply: Reply
    splitter: EventSplitter
    pieces: AsyncIterator[bytes]
    frames: list[bytes]
    failure: ApiError | None = None


async def begin(reply: Reply, stream: AnswerStream) -> Opening:
    """Read a stream up to its first frame: until then a failure is an ordinary error, and may be mended elsewhere."""
    opening = Opening(reply, EventSplitter(), reply.pieces(), [])
    has_begun = False
    try:
        if not reply.is_event_stream:
            raise _not_streamed(reply, stream)
        while not opening.frames and not stream.is_done:
            piece = await anext(opening.pieces)
            for data in opening.splitter.feed(piece):
                if frame := stream.take(data):
                    opening.frames.append(frame)
        has_begun = True
        return opening
    except StopAsyncIteration:
        raise AttemptFailedError(UpstreamError("The model's server sent an empty answer."), is_servers=True) from None
    except UpstreamTimeoutError as error:
        raise AttemptFailedError(error, is_servers=True) from error
    except ApiError as error:
        if stream.has_content:
            # Words came before the failure, all in one read: they are delivered and counted, and then it is told.
            opening.failure = error
            has_begun = True
            return opening
        raise AttemptFailedError(error, is_servers=isinstance(error, UpstreamError)) from error
    finally:
        if not has_begun:
            reply.close()


def _not_streamed(reply: Reply, stream: AnswerStream) -> AttemptFailedError:
    if stream.is_optional and reply.content_type == "application/json":
        whole = UnsupportedParameterError("stream", "The server of this model answers this as a whole: leave it out.")
        return AttemptFailedError(whole, elsewhere=True, is_servers=False)
    return AttemptFailedError(UpstreamError("The model's server did not answer with a stream."), elsewhere=True)


async def read_whole(reply: Reply, call: Call) -> WholeAnswer:
    """An answer that is not streamed."""
    is_whole = False
    try:
        received = await reply.read()
        is_whole = True
    finally:
        if not is_whole:
            reply.close()
    return whole_answer(
        received,
        endpoint=call.endpoint,
        model=call.model.name,
        choices=call.choices,
        asked_output=call.asked_output,
        likely_prompt=call.prompt.likely_tokens,
    )

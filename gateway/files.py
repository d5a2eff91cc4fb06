"""`/v1/files` and `/v1/batches`: rows by way of threads, and files by way of threads of their own.

A disk, or a storage far away, may be slow: what waits for it must not hold up what looks up keys.
"""

import asyncio
import errno
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import IO, TypeVar

import orjson
import structlog
from django.utils.http import content_disposition_header

from batches import files, once, storing
from batches.asked import Asked
from batches.once import Once
from batches.routes import View
from batches.storing import Upload
from common.errors import InternalError, OverloadedError, RateLimitError, StorageFullError
from gateway.turns import Turns, check_pace
from gateway.uploads import received
from gateway.wire import Exchange, WhileClientListens
from usage.organization.asked import Parameters
from usage.policies import Caller

log = structlog.get_logger(__name__)

T = TypeVar("T")

MOST_AT_ONCE = 4
DISK_THREADS = 4
MOST_UPLOADS = 32
# They may take hours, and others are to have a place meanwhile.
MOST_UPLOADS_OF_ONE = 24
REQUESTS_PER_MINUTE = 1200
SENT_AT_ONCE = 256 * 1024
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FilesApi:
    """Answers for one event loop."""

    def __init__(self) -> None:
        self._turns = Turns(MOST_AT_ONCE)
        self._disk = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="files")
        self._uploads = Counter[str]()

    def close(self) -> None:
        self._disk.shutdown(wait=False, cancel_futures=True)

    async def answer(self, view: View, exchange: Exchange, caller: Caller) -> bytes:
        """The body of the view's answer. Raises ApiErrors."""
        asked = Asked(
            caller=caller,
            ids=exchange.path_params,
            parameters=Parameters(exchange.query()),
            body=await exchange.json() if view.takes_body else {},
        )
        key = once.key_in(exchange.headers.get(once.HEADER.lower())) if view.makes else ""

        def work() -> bytes:
            return orjson.dumps(view.answer(asked))

        def work_once() -> bytes:
            digest = sha256(exchange.path.encode() + orjson.dumps(asked.body, option=orjson.OPT_SORT_KEYS))
            return once.make(caller, Once(key, digest.hexdigest()), work)[0]

        return await self._turns.run(partial(_in_time, work_once if key else work))

    async def upload(self, exchange: Exchange, caller: Caller, caller_by_now: Callable[[], Awaitable[Caller]]) -> bytes:
        """Store the file in the request, which may take hours to come, for whoever calls by then; its description.

        Raises ApiErrors, and ClientGoneError.
        """
        key = once.key_in(exchange.headers.get(once.HEADER.lower()))
        if self._uploads[caller.project_id] >= MOST_UPLOADS_OF_ONE:
            raise RateLimitError(
                f"{MOST_UPLOADS_OF_ONE} files are being uploaded to this project already. Try again when one is done.",
                kind="requests",
                wait_seconds=5,
            )
        if self._uploads.total() >= MOST_UPLOADS:
            raise OverloadedError("Many files are being uploaded. Try again in a moment.", wait_seconds=5)
        self._uploads[caller.project_id] += 1
        try:
            async with received(exchange, self._disk) as upload:
                caller = await caller_by_now()
                wish = Once(key, await self._on_disk(upload.digest)) if key else None
                known = await self._turns.run(partial(_in_time, partial(_known_or_checked, caller, upload, wish)))
                if known is not None:
                    return known
                name, is_new = await self._on_disk(partial(files.put_away, upload)), False
                try:
                    answer, is_new = await self._turns.run(partial(_stored, caller, upload, name, wish))
                finally:
                    if not is_new:
                        self._disk.submit(storing.remove, name)
            return answer
        except OSError as error:
            log.warning("file_not_stored", error=str(error))
            if error.errno in NO_ROOM:
                raise StorageFullError from None
            raise InternalError(exchange.id) from None
        finally:
            self._uploads -= Counter((caller.project_id,))

    async def download(self, exchange: Exchange, caller: Caller) -> None:
        """Send what is in a file. Raises ApiErrors before the first byte, and ClientGoneError."""
        asked = Asked(caller=caller, ids=exchange.path_params, parameters=Parameters([]))
        stored = await self._turns.run(partial(_in_time, partial(files.asked_for, asked)))
        file: IO[bytes] = await self._on_disk(partial(storing.opened, stored.stored_as))
        with file, WhileClientListens(exchange.receive):
            headers = {
                "content-length": str(stored.size_bytes),
                # To be saved, and never shown as a page of this site.
                "content-disposition": content_disposition_header(True, stored.filename) or "attachment",
            }
            await exchange.begin("application/octet-stream", headers=headers)
            while piece := await self._on_disk(partial(file.read, SENT_AT_ONCE)):
                await exchange.send_frames(piece)
            await exchange.end()

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


def _known_or_checked(caller: Caller, upload: Upload, wish: Once | None) -> bytes | None:
    """What was answered when the same was uploaded before; else None, if it may be stored."""
    known = once.answer_before(caller, wish) if wish is not None else None
    if known is None:
        files.check_upload(caller, upload)
    return known


def _stored(caller: Caller, upload: Upload, name: str, wish: Once | None) -> tuple[bytes, bool]:
    """The answer to an upload, and whether it was stored or had been meanwhile."""

    def work() -> bytes:
        return orjson.dumps(files.as_object(files.store_file(caller, upload, name)))

    return (work(), True) if wish is None else once.make(caller, wish, work)


def _in_time(work: Callable[[], T]) -> T:
    check_pace("files and batches", per_minute=REQUESTS_PER_MINUTE)
    return work()

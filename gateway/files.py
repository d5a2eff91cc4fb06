"""`/v1/files` and `/v1/batches`: rows by way of threads, and files by way of threads of their own.

A disk, or a storage far away, may be slow: what waits for it must not hold up what looks up keys.
"""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, TypeVar

import orjson
import structlog
from django.utils.http import content_disposition_header

from batches import files, storing
from batches.asked import Asked
from batches.routes import View
from common.context import current_origin
from common.errors import InternalError, OverloadedError, RateLimitError, StorageFullError
from common.throttles import is_too_often
from gateway.turns import Turns
from gateway.uploads import received
from gateway.wire import Exchange, WhileClientListens
from usage.organization.asked import Parameters
from usage.policies import Caller

log = structlog.get_logger(__name__)

T = TypeVar("T")

MOST_AT_ONCE = 4
DISK_THREADS = 4
MOST_UPLOADS = 32
REQUESTS_PER_MINUTE = 1200
SENT_AT_ONCE = 256 * 1024
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FilesApi:
    """Answers for one event loop."""

    def __init__(self) -> None:
        self._turns = Turns(MOST_AT_ONCE)
        self._disk = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="files")
        self._uploads = 0

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
        return await self._turns.run(lambda: orjson.dumps(_in_time(partial(view.answer, asked))))

    async def upload(self, exchange: Exchange, caller: Caller) -> bytes:
        """Store the file in the request; its description. Raises ApiErrors, and ClientGoneError."""
        if self._uploads >= MOST_UPLOADS:
            raise OverloadedError("Many files are being uploaded. Try again in a moment.", wait_seconds=5)
        self._uploads += 1
        try:
            async with received(exchange, self._disk) as upload:
                await self._turns.run(partial(_in_time, partial(files.check_upload, caller, upload)))
                name = await self._on_disk(partial(files.put_away, upload))
                try:
                    stored = await self._turns.run(partial(files.store_file, caller, upload, name))
                except BaseException:
                    self._disk.submit(storing.remove, name)
                    raise
            return orjson.dumps(files.as_object(stored))
        except OSError as error:
            log.warning("file_not_stored", error=str(error))
            if error.errno in NO_ROOM:
                raise StorageFullError from None
            raise InternalError(exchange.id) from None
        finally:
            self._uploads -= 1

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


def _in_time(work: Callable[[], T]) -> T:
    if is_too_often("files", address=current_origin.get().address, most=REQUESTS_PER_MINUTE, seconds=60):
        raise RateLimitError(
            f"More than {REQUESTS_PER_MINUTE} requests about files and batches a minute from your IP address.",
            kind="requests",
            wait_seconds=60,
        )
    return work()

"""That this web process was told to stop, and what it does until then.

It says so at `/readyz` at once, goes on answering for DRAIN_NOTICE_SECONDS so that a load balancer can hear it, and
closes each connection that it answers on; then it takes no more calls. What still runs DRAIN_SECONDS later is ended
with an error that tells clients to come again.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from django.conf import settings

SIGNALS = (signal.SIGTERM, signal.SIGINT)
CLOSE = (b"connection", b"close")
"""The header that ends a connection with its answer, so that the client's next call goes to another process."""
Hook = Callable[[], None]
Handler = Callable[[int, FrameType | None], object]


class Stopping:
    """The state of one process. Hooks run on the event loop they were given on."""

    def __init__(self) -> None:
        self.is_on = False
        self._hooks: list[Hook] = []
        self._notice: asyncio.TimerHandle | None = None

    @contextmanager
    def telling(self, hook: Hook) -> Iterator[None]:
        """Have `hook` called when the server is told, which is when the notice is over, while the context lasts."""
        self._hooks.append(hook)
        try:
            yield
        finally:
            self._hooks.remove(hook)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Begin at SIGTERM or SIGINT, and hand the signal to the server when the notice is over, or at a second one.

        Does nothing outside of the main thread, which alone hears signals.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop, before = asyncio.get_running_loop(), {}
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                before[number] = handler
                signal.signal(number, self._patiently(handler, loop))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _patiently(self, handler: Handler, loop: asyncio.AbstractEventLoop) -> Handler:
        def heed(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(begin, number)

        def begin(number: int) -> None:
            wait = 0.0 if self.is_on else settings.DRAIN_NOTICE_SECONDS
            self.is_on = True
            if self._notice is not None:
                # Handed on as well, the first signal would be one more to the server, which it takes for impatience.
                self._notice.cancel()
            self._notice = loop.call_later(wait, hand_on, number)

        def hand_on(number: int) -> None:
            handler(number, None)
            for hook in self._hooks:
                hook()

        return heed


stopping = Stopping()

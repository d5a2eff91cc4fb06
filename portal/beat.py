"""Beat's schedule, by a clock that may be set back."""

from typing import Any

from celery.beat import PersistentScheduler


class Scheduler(PersistentScheduler):
    """Goes on when the clock is set back, where Celery's own waits until it shows the time of the last run again: for
    hours nobody would write usage down, nor say so."""

    _heap: list[Any] | None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, and tell in how many seconds to look again."""
        now = self.app.now()
        ahead = [entry for entry in self.schedule.values() if entry.last_run_at and entry.last_run_at > now]
        for entry in ahead:
            entry.last_run_at = now
        if ahead:
            # It is in the order of times that the clock no longer shows.
            self._heap = None
        return super().tick(*args, **kwargs)

"""What happens on a schedule happens whatever becomes of the clock."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from celery.beat import Service

from portal.beat import Scheduler
from portal.celery import app

SET_BACK = timedelta(hours=2)
SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 24 * 3600


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Scheduler]:
    name = app.conf.beat_scheduler
    found = Service(app, scheduler_cls=name, schedule_filename=str(tmp_path / "schedule")).get_scheduler()
    assert isinstance(found, Scheduler)
    yield found
    found.close()


def test_it_works(scheduler: Scheduler) -> None:
    assert 0 < scheduler.tick() <= SHORTEST_SECONDS


def test_a_clock_that_was_set_back(scheduler: Scheduler) -> None:
    scheduler.tick()
    for entry in scheduler.schedule.values():
        assert entry.last_run_at is not None
        entry.last_run_at += SET_BACK
    scheduler.populate_heap()
    assert 0 < scheduler.tick() <= SHORTEST_SECONDS
    for entry in scheduler.schedule.values():
        assert entry.last_run_at is not None
        assert entry.last_run_at <= app.now()
    # The others are looked at once the first was sent.
    assert scheduler._heap is not None
    assert max(event.time for event in scheduler._heap) <= time.time() + LONGEST_SECONDS

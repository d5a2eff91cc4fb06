"""The Celery application: which queue a task takes, and what happens on a schedule.

Nothing that must not be lost travels as a message: usage goes by a Redis stream, a job is a row first. A message is a
hint, so each scheduled one expires before the next would come.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

QUEUES = ("inference", "batches", "usage", "webhooks", "default")

app = Celery("lyceum")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_scheduler = "portal.beat:Scheduler"
app.autodiscover_tasks()
app.conf.task_routes = {
    "playground.*": {"queue": "inference"},
    "batches.*": {"queue": "batches"},
    # It says that nobody works on that queue.
    "usage.tasks.look_for_delay": {"queue": "default"},
    # Much to tell must not hold up what counts.
    "usage.tasks.look_at_budgets": {"queue": "default"},
    "usage.*": {"queue": "usage"},
    "webhooks.*": {"queue": "webhooks"},
    "*": {"queue": "default"},
}


def every(seconds: float, task: str, **options: str) -> dict[str, Any]:
    """A beat entry that is thrown away when no worker took it before the next one."""
    return {"task": task, "schedule": seconds, "options": {"expires": max(seconds, 5), **options}}


app.conf.beat_schedule = {
    "usage-ingest": every(1, "usage.tasks.ingest"),
    "usage-reap": every(10, "usage.tasks.reap"),
    "usage-look-for-delay": every(60, "usage.tasks.look_for_delay"),
    "usage-look-at-budgets": every(60, "usage.tasks.look_at_budgets"),
    "usage-look-for-drift": every(24 * 3600, "usage.tasks.look_for_drift"),
    "usage-forget": every(24 * 3600, "usage.tasks.forget"),
    "accounts-keep-audit-log": every(24 * 3600, "accounts.tasks.keep_audit_log"),
    "accounts-send-invitations": every(30, "accounts.tasks.send_waiting_invitations"),
    "accounts-sweep": every(60, "accounts.tasks.sweep"),
    "accounts-remove-expired-exports": every(24 * 3600, "accounts.tasks.remove_expired_exports"),
    "catalog-check-backends": every(10, "catalog.tasks.check_backends"),
    "playground-sweep": every(10, "playground.tasks.sweep"),
    "batches-sweep": every(10, "batches.tasks.sweep"),
    "batches-remove-expired-files": every(3600, "batches.tasks.remove_expired_files"),
    "webhooks-deliver": every(10, "webhooks.tasks.deliver"),
    "webhooks-forget": every(24 * 3600, "webhooks.tasks.forget_old"),
    # Hourly, since the first of a schedule comes when one is over: a row is of its day, and the last one stays.
    "portal-note-sizes": every(3600, "portal.tasks.note_sizes"),
    "notifications-send-waiting": every(30, "notifications.tasks.send_waiting"),
    **{f"heartbeat-{queue}": every(2, "portal.tasks.heartbeat", queue=queue) for queue in QUEUES},
}


@setup_logging.connect
def use_django_logging(**kwargs: Any) -> None:
    """Celery leaves logging as Django configured it: one shape for every process."""

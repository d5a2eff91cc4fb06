"""What keeps the audit log: its months ahead, its end, and what it forgets."""

import re
from datetime import date, timedelta

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from accounts.models import AuditOrigin
from common.ids import uuid7

MONTHS_AHEAD = 3
_PARTITION = re.compile(r"accounts_auditevent_(\d{4})_(\d{2})")

log = structlog.get_logger(__name__)


def keep_audit_log() -> None:
    """Make the months to come, drop those past AUDIT_RETENTION_MONTHS and origins past AUDIT_ORIGIN_DAYS."""
    today = timezone.now().date()
    open_months(today)
    drop_months(before=_months_before(today, max(settings.AUDIT_RETENTION_MONTHS, 0)))
    forget_origins(days=settings.AUDIT_ORIGIN_DAYS)


@transaction.atomic
def open_months(today: date) -> None:
    """Partitions for this month and the next, and for events that came while there was none for theirs."""
    with connection.cursor() as cursor:
        _wait_briefly(cursor)
        cursor.execute(
            "SELECT accounts_audit_open_month((%s::date + ahead * interval '1 month')::date)"
            " FROM generate_series(0, %s) AS ahead",
            [today.replace(day=1), MONTHS_AHEAD],
        )
        cursor.execute(
            "SELECT DISTINCT date_trunc('month', at AT TIME ZONE 'UTC')::date FROM accounts_auditevent_other"
        )
        for (month,) in cursor.fetchall():
            cursor.execute("SELECT accounts_audit_open_month(%s)", [month])


def drop_months(*, before: date) -> None:
    """Drop whole months, with their seals, that end before the month of this day begins."""
    for month in _months():
        if month < before.replace(day=1):
            _drop(month)
            log.info("audit_month_dropped", month=f"{month:%Y-%m}")


@transaction.atomic
def _drop(month: date) -> None:
    with connection.cursor() as cursor:
        _wait_briefly(cursor)
        cursor.execute(f"DROP TABLE accounts_auditevent_{month:%Y_%m}, accounts_auditseal_{month:%Y_%m}")


def forget_origins(*, days: int) -> None:
    """Delete where acts came from once it is older than this; the acts stay."""
    # Their ids begin with the time at which they were made.
    limit = uuid7(milliseconds=int((timezone.now() - timedelta(days=days)).timestamp() * 1000))
    AuditOrigin.objects.filter(event_id__lt=limit).delete()


def _months() -> list[date]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = 'accounts_auditevent'::regclass ORDER BY relname"
        )
        names = [name for (name,) in cursor.fetchall()]
    return [date(int(match[1]), int(match[2]), 1) for name in names if (match := _PARTITION.fullmatch(name))]


def _months_before(today: date, months: int) -> date:
    count = today.year * 12 + today.month - 1 - months
    return date(count // 12, count % 12 + 1, 1)


def _wait_briefly(cursor: CursorWrapper) -> None:
    # Behind a long reader this would wait for the lock on the whole log, and every act would wait behind it.
    cursor.execute("SET LOCAL lock_timeout = '3s'")

"""Upkeep of the ledger."""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Q
from django.utils import timezone

from usage.ingest import CELLS, sums
from usage.models import MEASURES, ROLLUPS, CreditDraw, UsageEvent, UsageInstallationHour, UsageRollup5Min

log = structlog.get_logger(__name__)

KEPT = timedelta(days=35)
MONTHS_AHEAD = 3
# Budgets and the nightly comparison are of the running month and the one before.
FEWEST_MONTHS = 1

OLDEST_KEPT = "date_trunc('month', now() AT TIME ZONE 'UTC') - %(kept)s * interval '1 month'"
OPEN_MONTHS = f"""
SELECT usage_open_month(month::date) FROM (
    SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + ahead * interval '1 month' AS month
    FROM generate_series(0, %(ahead)s) AS ahead
    UNION
    SELECT date_trunc('month', at AT TIME ZONE 'UTC') FROM usage_usageevent_other
    WHERE at AT TIME ZONE 'UTC' >= {OLDEST_KEPT} AND at < now() + %(ahead)s * interval '1 month'
) AS months
"""  # noqa: S608 - an expression only
DELETE_STRAYS = f"""
DELETE FROM usage_usageevent_other WHERE id < usage_first_id(({OLDEST_KEPT}) AT TIME ZONE 'UTC')
"""  # noqa: S608 - an expression only
OLD_MONTHS = f"""
SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'usage_usageevent'::regclass AND relname ~ '_\\d{{4}}_\\d\\d$'
    AND relname < 'usage_usageevent_' || to_char({OLDEST_KEPT}, 'YYYY_MM')
ORDER BY relname
"""  # noqa: S608 - an expression only
TAKE_OUT = f"""
WITH inserted AS (SELECT * FROM {UsageEvent._meta.db_table} WHERE organization_id = ANY(%s)), {CELLS}
UPDATE {UsageInstallationHour._meta.db_table} AS kept
SET {", ".join(f"{name} = kept.{name} - summed.{name}" for name in MEASURES)}
FROM ({sums(UsageInstallationHour)}) AS summed
WHERE {" AND ".join(f"kept.{column} = summed.{column}" for column in UsageInstallationHour.CELL)}
"""  # noqa: S608 - names only


def forget_old_sums() -> int:
    """Delete five-minute sums older than 35 days, and tell how many. The quarter hours they are part of stay."""
    deleted, _by_model = UsageRollup5Min.objects.filter(bucket_at__lt=timezone.now() - KEPT).delete()
    return deleted


def keep_months() -> None:
    """Make the months of the ledger that are to come, and drop those past USAGE_RETENTION_MONTHS.

    Calls that came while there was no partition for theirs get one; those of times that are yet to come wait for it.
    """
    values = {"kept": max(settings.USAGE_RETENTION_MONTHS, FEWEST_MONTHS), "ahead": MONTHS_AHEAD}
    with transaction.atomic(), connection.cursor() as cursor:
        _wait_briefly(cursor)
        cursor.execute(OPEN_MONTHS, values)
        cursor.execute(DELETE_STRAYS, values)
        cursor.execute(OLD_MONTHS, values)
        months = [name for (name,) in cursor.fetchall()]
    for month in months:
        with transaction.atomic(), connection.cursor() as cursor:
            _wait_briefly(cursor)
            cursor.execute(f"DROP TABLE {month}")
        log.info("usage_month_dropped", table=month)


@transaction.atomic
def remove_usage(organization_ids: Sequence[str]) -> None:
    """Take the calls of these organizations out of the ledger and out of all sums."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE_OUT, [list(organization_ids)])
    UsageInstallationHour.objects.filter(requests=0).delete()
    theirs = Q(organization_id__in=organization_ids)
    for table in ROLLUPS:
        if table is not UsageInstallationHour:
            table.objects.filter(theirs).delete()
    CreditDraw.objects.filter(theirs).delete()
    UsageEvent.objects.filter(theirs).delete()


def _wait_briefly(cursor: CursorWrapper) -> None:
    # Behind a long reader this would wait for the lock on the whole ledger, and the ingest would wait behind it.
    cursor.execute("SET LOCAL lock_timeout = '3s'")

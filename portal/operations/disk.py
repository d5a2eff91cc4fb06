"""What is kept, how large it is, and how fast it grows."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from django.conf import settings
from django.db import connection
from django.db.models import Count, Sum
from django.db.models.functions import TruncMonth
from django.utils import timezone

from batches.models import StoredFile
from common.moments import today
from usage.models import ROLLUPS, SizeOnDay, UsageEvent, UsageOrganizationDay

MILLION = 1_000_000
# Less than that says more of what happened to be done than of a pace.
FEWEST_DAYS = 7
PACE_OF = timedelta(days=30)
MOST_DAYS = 3650
SOON_DAYS = 30
HERE = ("", "localhost", "127.0.0.1", "::1")

# Its partitions, by month; what is of none of them has no month.
LEDGER = f"""
SELECT to_date(substring(relname FROM '_(\\d{{4}}_\\d\\d)$'), 'YYYY_MM'), pg_total_relation_size(pg_class.oid)
FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = '{UsageEvent._meta.db_table}'::regclass ORDER BY 1 DESC NULLS LAST
"""  # noqa: S608 - a table name only


@dataclass(frozen=True, slots=True)
class Month:
    """A partition of the ledger; `first_day` is None for what has no month of its own."""

    first_day: date | None
    calls: int
    size_bytes: int

    @property
    def per_million(self) -> int | None:
        """Bytes that a million calls take; None where there are too few to tell."""
        return self.size_bytes * MILLION // self.calls if self.calls >= MILLION // 100 else None


@dataclass(frozen=True, slots=True)
class Growth:
    """How fast the database and files grew in the last days."""

    days: int
    bytes_a_day: float

    def days_until(self, free_bytes: int) -> float | None:
        """When so much is taken up; None where it does not grow, or not in ten years."""
        days = free_bytes / self.bytes_a_day if self.bytes_a_day > 0 else None
        return days if days is not None and days <= MOST_DAYS else None


@dataclass(frozen=True, slots=True)
class Disk:
    """What takes how much room. `free_bytes` is None where the disk of the database is not seen from here."""

    database_bytes: int
    files: int
    files_bytes: int
    months: tuple[Month, ...]
    sums: Mapping[str, int]
    free_bytes: int | None
    total_bytes: int | None
    growth: Growth | None

    @property
    def ledger_bytes(self) -> int:
        return sum(month.size_bytes for month in self.months)

    @property
    def sums_bytes(self) -> int:
        return sum(self.sums.values())

    @property
    def rest_bytes(self) -> int:
        """What of the database is neither calls nor sums of them."""
        return self.database_bytes - self.ledger_bytes - self.sums_bytes

    @property
    def days_left(self) -> float | None:
        """Until the disk is full at this pace; None where that cannot be told, or is not in ten years."""
        if self.growth is None or self.free_bytes is None:
            return None
        return self.growth.days_until(self.free_bytes)

    @property
    def full_at(self) -> datetime | None:
        return None if self.days_left is None else timezone.now() + timedelta(days=self.days_left)

    @property
    def is_soon_full(self) -> bool:
        return self.days_left is not None and self.days_left < SOON_DAYS


def measure() -> Disk:
    """Six queries; what they read grows with the months that are kept, and not with the calls."""
    months = _months()
    database, files, files_bytes = _totals()
    disk = shutil.disk_usage(settings.VAR_DIR) if _is_here() else None
    return Disk(
        database_bytes=database,
        files=files,
        files_bytes=files_bytes,
        months=months,
        sums=_sums(),
        free_bytes=disk and disk.free,
        total_bytes=disk and disk.total,
        growth=_growth(database + files_bytes),
    )


def note() -> None:
    """Write down how large everything is today."""
    database, _files, files_bytes = _totals()
    sizes = {"database_bytes": database, "files_bytes": files_bytes}
    SizeOnDay.objects.update_or_create(day=today(), defaults=sizes)


def _totals() -> tuple[int, int, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        (database,) = cursor.fetchone()
    kept = StoredFile.objects.aggregate(files=Count("pk"), bytes=Sum("size_bytes"))
    return database, kept["files"], int(kept["bytes"] or 0)


def _months() -> tuple[Month, ...]:
    by_month = UsageOrganizationDay.objects.annotate(month=TruncMonth("bucket_at", tzinfo=UTC)).values("month")
    calls = {row["month"].date(): int(row["calls"]) for row in by_month.annotate(calls=Sum("requests"))}
    with connection.cursor() as cursor:
        cursor.execute(LEDGER)
        found = cast("list[tuple[date | None, int]]", cursor.fetchall())
    # Those that are to come are made ahead, and have nothing in them.
    return tuple(
        Month(first, calls.get(first, 0) if first else 0, size)
        for first, size in found
        if not first or first <= today()
    )


def _sums() -> dict[str, int]:
    tables = {table._meta.db_table: str(table._meta.verbose_name_plural) for table in ROLLUPS}
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, pg_total_relation_size(name) FROM unnest(%s::text[]) AS name", [list(tables)])
        return {tables[name]: size for name, size in cursor.fetchall()}


def _growth(size: int) -> Growth | None:
    first: Any = SizeOnDay.objects.filter(day__gte=today() - PACE_OF).order_by("day").first()
    days = (today() - first.day).days if first else 0
    return Growth(days, (size - first.database_bytes - first.files_bytes) / days) if days >= FEWEST_DAYS else None


def _is_here() -> bool:
    # Where PostgreSQL keeps its data it tells superusers alone; one that is asked over loopback is of this machine.
    host = connection.settings_dict["HOST"]
    return host in HERE or host.startswith("/")

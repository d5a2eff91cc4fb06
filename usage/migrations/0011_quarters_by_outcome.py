"""The sums of five minutes and of quarters of an hour tell how calls ended, as those of hours and days do.

Sums that stand for calls of the ledger are split as the ledger says. Others stay as they are, as those of calls that
were answered: what the sums add up to is the same afterwards.
"""

from django.db import migrations, models

OF_A_KEY = ("project_id", "bucket_at", "key_id", "user_id", "model", "endpoint", "source", "organization_id")
CELL = ["project_id", "bucket_at", "key_id", "user_id", "model", "endpoint", "source", "status", "error_code"]
CELL += ["organization_id"]
TABLES = (
    ("usagerollup5min", "5 minutes", "one_row_per_5min_cell"),
    ("usagerollup15min", "15 minutes", "one_row_per_15min_cell"),
)


def histogram(milliseconds: str, where: str) -> str:
    """As the ingest has it: twelve digits for each bucket, and a bucket for each fifth more."""
    bucket = f"least(79, floor(ln(greatest({milliseconds}, 1)) / 0.1823215567939546::float8)::int)"
    return f"coalesce(sum(('1e' || 12 * {bucket})::numeric) FILTER (WHERE {where}), 0)"


SUMS = {
    "requests": "count(*)",
    "errors": "count(*) FILTER (WHERE status >= 400 AND status <> 499)",
    "prompt_tokens": "sum(prompt_tokens)",
    "cached_tokens": "sum(cached_tokens)",
    "completion_tokens": "sum(completion_tokens)",
    "reasoning_tokens": "sum(reasoning_tokens)",
    "cost_nano": "sum(cost_nano)",
    "latency_ms_sum": "coalesce(sum(latency_ms) FILTER (WHERE backend <> ''), 0)",
    "latency_count": "count(*) FILTER (WHERE backend <> '')",
    "latency_histogram": histogram("latency_ms", "backend <> ''"),
    "first_token_ms_sum": "coalesce(sum(first_token_ms), 0)",
    "first_token_count": "count(first_token_ms)",
    "first_token_histogram": histogram("first_token_ms", "first_token_ms IS NOT NULL"),
}


def split(table: str, width: str) -> str:
    who = ", ".join(OF_A_KEY)
    columns = ", ".join((*CELL, *SUMS))
    return f"""
        WITH parts AS (
            SELECT date_bin('{width}', at, TIMESTAMPTZ '2000-01-01 00:00:00+00') AS bucket_at,
                {", ".join(column for column in CELL if column != "bucket_at")},
                {", ".join(f"{value} AS {name}" for name, value in SUMS.items())}
            FROM usage_usageevent
            -- Months from before the first sum are not opened: those of five minutes are kept for 35 days.
            WHERE id >= usage_first_id((SELECT min(bucket_at) FROM usage_{table}))
            GROUP BY 1, {", ".join(column for column in CELL if column != "bucket_at")}
        ), whole AS (
            SELECT {who}, sum(requests) AS requests FROM parts GROUP BY {who}
        ), taken AS (
            DELETE FROM usage_{table} AS kept USING whole
            WHERE kept.requests = whole.requests AND {" AND ".join(f"kept.{name} = whole.{name}" for name in OF_A_KEY)}
            RETURNING {", ".join(f"kept.{name}" for name in OF_A_KEY)}, kept.updated_at
        )
        INSERT INTO usage_{table} ({columns}, updated_at) SELECT {columns}, updated_at FROM parts JOIN taken USING ({who})
    """  # noqa: S608 - names only


class Migration(migrations.Migration):
    dependencies = [("usage", "0010_size_on_day")]

    operations = [
        # Millions of calls take longer than a page may.
        migrations.RunSQL("SET LOCAL statement_timeout = 0"),
        *(
            operation
            for model, width, name in TABLES
            for operation in (
                migrations.AddField(
                    model, "status", models.PositiveSmallIntegerField(default=200), preserve_default=False
                ),
                migrations.AddField(
                    model,
                    "error_code",
                    models.CharField(max_length=60, blank=True, default=""),
                    preserve_default=False,
                ),
                migrations.RemoveConstraint(model, name),
                migrations.RunSQL(split(model, width)),
                migrations.AddConstraint(model, models.UniqueConstraint(fields=CELL, name=name)),
            )
        ),
    ]

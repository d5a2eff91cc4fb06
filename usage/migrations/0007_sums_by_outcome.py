"""Sums have histograms of time and count reasoning tokens, and there are four tables more of them.

All are filled from the ledger. Sums whose calls are no longer in it have no histograms.
"""

import django.utils.timezone
from django.db import migrations, models

OF_A_KEY = "source, organization_id, project_id, key_id, user_id, model, endpoint"
WIDENED = (("usage_usagerollup5min", "5 minutes"), ("usage_usagerollup15min", "15 minutes"))
NEW = (
    ("usage_usageprojecthour", "1 hour", "source, organization_id, project_id, model, endpoint, status, error_code"),
    ("usage_usagekeyday", "1 day", f"{OF_A_KEY}, status, error_code"),
    ("usage_usageinstallationhour", "1 hour", "source, model, backend, endpoint, status, error_code"),
    ("usage_usageorganizationday", "1 day", "organization_id"),
)
SUMS = {
    "requests": "count(*)",
    "errors": "count(*) FILTER (WHERE status >= 400 AND status <> 499)",
    "prompt_tokens": "sum(prompt_tokens)",
    "cached_tokens": "sum(cached_tokens)",
    "completion_tokens": "sum(completion_tokens)",
    "cost_nano": "sum(cost_nano)",
    "latency_ms_sum": "coalesce(sum(latency_ms) FILTER (WHERE backend <> ''), 0)",
    "latency_count": "count(*) FILTER (WHERE backend <> '')",
    "first_token_ms_sum": "coalesce(sum(first_token_ms), 0)",
    "first_token_count": "count(first_token_ms)",
}


def histogram(milliseconds: str, where: str) -> str:
    """As the ingest has it: twelve digits for each bucket, and a bucket for each fifth more."""
    bucket = f"least(79, floor(ln(greatest({milliseconds}, 1)) / 0.1823215567939546::float8)::int)"
    return f"coalesce(sum(('1e' || 12 * {bucket})::numeric) FILTER (WHERE {where}), 0)"


HISTOGRAMS = {
    "latency_histogram": histogram("latency_ms", "backend <> ''"),
    "first_token_histogram": histogram("first_token_ms", "first_token_ms IS NOT NULL"),
}


def summed(width: str, cell: str, sums: dict[str, str]) -> str:
    columns = ", ".join(f"{value} AS {name}" for name, value in sums.items())
    return f"""
        SELECT date_bin('{width}', at, TIMESTAMPTZ '2000-01-01 00:00:00+00') AS bucket_at, {cell}, {columns}
        FROM usage_usageevent GROUP BY 1, {cell}
    """  # noqa: S608 - names only


def fill(table: str, width: str, cell: str) -> str:
    sums = SUMS | HISTOGRAMS
    return f"""
        INSERT INTO {table} (bucket_at, {cell}, {", ".join(sums)}, updated_at)
        SELECT *, now() FROM ({summed(width, cell, sums)}) AS summed
    """  # noqa: S608 - names only


def widen(table: str, width: str) -> str:
    same = " AND ".join(f"kept.{column} = summed.{column}" for column in ("bucket_at", *OF_A_KEY.split(", ")))
    return f"""
        UPDATE {table} AS kept SET {", ".join(f"{name} = summed.{name}" for name in HISTOGRAMS)}
        FROM ({summed(width, OF_A_KEY, HISTOGRAMS)}) AS summed WHERE {same}
    """  # noqa: S608 - names only


class Migration(migrations.Migration):
    dependencies = [("usage", "0006_ledger_by_month")]

    operations = [
        migrations.CreateModel(
            name="UsageInstallationHour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("bucket_at", models.DateTimeField(verbose_name="from")),
                ("requests", models.BigIntegerField(default=0)),
                ("errors", models.BigIntegerField(default=0)),
                ("prompt_tokens", models.BigIntegerField(default=0)),
                ("cached_tokens", models.BigIntegerField(default=0)),
                ("completion_tokens", models.BigIntegerField(default=0)),
                ("reasoning_tokens", models.BigIntegerField(db_default=0, default=0)),
                ("cost_nano", models.BigIntegerField(default=0)),
                ("latency_ms_sum", models.BigIntegerField(default=0)),
                ("latency_count", models.BigIntegerField(db_default=0, default=0)),
                ("latency_histogram", models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960)),
                ("first_token_ms_sum", models.BigIntegerField(default=0)),
                ("first_token_count", models.BigIntegerField(default=0)),
                (
                    "first_token_histogram",
                    models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960),
                ),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "source",
                    models.CharField(
                        choices=[("key", "API key"), ("playground", "Playground"), ("batch", "Batch")], max_length=12
                    ),
                ),
                ("model", models.CharField(max_length=200)),
                ("backend", models.CharField(blank=True, max_length=60)),
                ("endpoint", models.CharField(max_length=40)),
                ("status", models.PositiveSmallIntegerField()),
                ("error_code", models.CharField(blank=True, max_length=60)),
            ],
            options={
                "verbose_name": "hourly sum of the portal",
                "verbose_name_plural": "hourly sums of the portal",
            },
        ),
        migrations.CreateModel(
            name="UsageKeyDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("bucket_at", models.DateTimeField(verbose_name="from")),
                ("requests", models.BigIntegerField(default=0)),
                ("errors", models.BigIntegerField(default=0)),
                ("prompt_tokens", models.BigIntegerField(default=0)),
                ("cached_tokens", models.BigIntegerField(default=0)),
                ("completion_tokens", models.BigIntegerField(default=0)),
                ("reasoning_tokens", models.BigIntegerField(db_default=0, default=0)),
                ("cost_nano", models.BigIntegerField(default=0)),
                ("latency_ms_sum", models.BigIntegerField(default=0)),
                ("latency_count", models.BigIntegerField(db_default=0, default=0)),
                ("latency_histogram", models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960)),
                ("first_token_ms_sum", models.BigIntegerField(default=0)),
                ("first_token_count", models.BigIntegerField(default=0)),
                (
                    "first_token_histogram",
                    models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960),
                ),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "source",
                    models.CharField(
                        choices=[("key", "API key"), ("playground", "Playground"), ("batch", "Batch")], max_length=12
                    ),
                ),
                ("organization_id", models.CharField(max_length=40)),
                ("project_id", models.CharField(max_length=40)),
                ("key_id", models.CharField(blank=True, max_length=40)),
                ("user_id", models.CharField(blank=True, max_length=40)),
                ("model", models.CharField(max_length=200)),
                ("endpoint", models.CharField(max_length=40)),
                ("status", models.PositiveSmallIntegerField()),
                ("error_code", models.CharField(blank=True, max_length=60)),
            ],
            options={
                "verbose_name": "daily sum of a key",
                "verbose_name_plural": "daily sums of keys",
            },
        ),
        migrations.CreateModel(
            name="UsageOrganizationDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("bucket_at", models.DateTimeField(verbose_name="from")),
                ("requests", models.BigIntegerField(default=0)),
                ("errors", models.BigIntegerField(default=0)),
                ("prompt_tokens", models.BigIntegerField(default=0)),
                ("cached_tokens", models.BigIntegerField(default=0)),
                ("completion_tokens", models.BigIntegerField(default=0)),
                ("reasoning_tokens", models.BigIntegerField(db_default=0, default=0)),
                ("cost_nano", models.BigIntegerField(default=0)),
                ("latency_ms_sum", models.BigIntegerField(default=0)),
                ("latency_count", models.BigIntegerField(db_default=0, default=0)),
                ("latency_histogram", models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960)),
                ("first_token_ms_sum", models.BigIntegerField(default=0)),
                ("first_token_count", models.BigIntegerField(default=0)),
                (
                    "first_token_histogram",
                    models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960),
                ),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("organization_id", models.CharField(max_length=40)),
            ],
            options={
                "verbose_name": "daily sum of an organization",
                "verbose_name_plural": "daily sums of organizations",
            },
        ),
        migrations.CreateModel(
            name="UsageProjectHour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("bucket_at", models.DateTimeField(verbose_name="from")),
                ("requests", models.BigIntegerField(default=0)),
                ("errors", models.BigIntegerField(default=0)),
                ("prompt_tokens", models.BigIntegerField(default=0)),
                ("cached_tokens", models.BigIntegerField(default=0)),
                ("completion_tokens", models.BigIntegerField(default=0)),
                ("reasoning_tokens", models.BigIntegerField(db_default=0, default=0)),
                ("cost_nano", models.BigIntegerField(default=0)),
                ("latency_ms_sum", models.BigIntegerField(default=0)),
                ("latency_count", models.BigIntegerField(db_default=0, default=0)),
                ("latency_histogram", models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960)),
                ("first_token_ms_sum", models.BigIntegerField(default=0)),
                ("first_token_count", models.BigIntegerField(default=0)),
                (
                    "first_token_histogram",
                    models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960),
                ),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("organization_id", models.CharField(max_length=40)),
                ("project_id", models.CharField(max_length=40)),
                (
                    "source",
                    models.CharField(
                        choices=[("key", "API key"), ("playground", "Playground"), ("batch", "Batch")], max_length=12
                    ),
                ),
                ("model", models.CharField(max_length=200)),
                ("endpoint", models.CharField(max_length=40)),
                ("status", models.PositiveSmallIntegerField()),
                ("error_code", models.CharField(blank=True, max_length=60)),
            ],
            options={
                "verbose_name": "hourly sum of a project",
                "verbose_name_plural": "hourly sums of projects",
            },
        ),
        migrations.AddField(
            model_name="usagerollup15min",
            name="first_token_histogram",
            field=models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960),
        ),
        migrations.AddField(
            model_name="usagerollup15min",
            name="latency_histogram",
            field=models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960),
        ),
        migrations.AddField(
            model_name="usagerollup15min",
            name="reasoning_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usagerollup5min",
            name="first_token_histogram",
            field=models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960),
        ),
        migrations.AddField(
            model_name="usagerollup5min",
            name="latency_histogram",
            field=models.DecimalField(db_default=0, decimal_places=0, default=0, max_digits=960),
        ),
        migrations.AddField(
            model_name="usagerollup5min",
            name="reasoning_tokens",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddConstraint(
            model_name="usageinstallationhour",
            constraint=models.UniqueConstraint(
                fields=("bucket_at", "model", "backend", "endpoint", "source", "status", "error_code"),
                name="one_row_per_installation_hour_cell",
            ),
        ),
        migrations.AddConstraint(
            model_name="usagekeyday",
            constraint=models.UniqueConstraint(
                fields=(
                    "project_id",
                    "bucket_at",
                    "key_id",
                    "user_id",
                    "model",
                    "endpoint",
                    "source",
                    "status",
                    "error_code",
                    "organization_id",
                ),
                name="one_row_per_key_day_cell",
            ),
        ),
        migrations.AddConstraint(
            model_name="usageorganizationday",
            constraint=models.UniqueConstraint(
                fields=("bucket_at", "organization_id"), name="one_row_per_organization_day"
            ),
        ),
        migrations.AddConstraint(
            model_name="usageprojecthour",
            constraint=models.UniqueConstraint(
                fields=(
                    "project_id",
                    "bucket_at",
                    "model",
                    "endpoint",
                    "source",
                    "status",
                    "error_code",
                    "organization_id",
                ),
                name="one_row_per_project_hour_cell",
            ),
        ),
        # Millions of calls take longer than a page may.
        migrations.RunSQL("SET LOCAL statement_timeout = 0"),
        *(migrations.RunSQL(widen(*table)) for table in WIDENED),
        *(migrations.RunSQL(fill(*table)) for table in NEW),
    ]

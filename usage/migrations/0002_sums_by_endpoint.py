"""The sums are told apart by endpoint, and count cached tokens.

Sums that stand for calls of the ledger are split as the ledger says. Others stay as they are, as those of chats: what
the sums add up to is the same afterwards.
"""

from django.db import migrations, models

CELL = ["project_id", "bucket_at", "key_id", "user_id", "model", "endpoint", "source", "organization_id"]
CHAT = "chat/completions"

# Every call of the ledger that is no chat, summed as the ingest would have.
OF_THE_LEDGER = """
    SELECT date_bin('{width}', at, TIMESTAMPTZ '2000-01-01 00:00:00+00') AS bucket_at, source, organization_id,
        project_id, key_id, user_id, model, endpoint, count(*) AS requests,
        count(*) FILTER (WHERE status >= 400 AND status <> 499) AS errors, sum(prompt_tokens) AS prompt_tokens,
        sum(cached_tokens) AS cached_tokens, sum(completion_tokens) AS completion_tokens, sum(cost_nano) AS cost_nano,
        sum(latency_ms) AS latency_ms_sum, coalesce(sum(first_token_ms), 0) AS first_token_ms_sum,
        count(first_token_ms) AS first_token_count
    FROM usage_usageevent
    WHERE {which}
    GROUP BY bucket_at, source, organization_id, project_id, key_id, user_id, model, endpoint
"""
SAME_CELL = " AND ".join(f"kept.{column} = moved.{column}" for column in CELL if column != "endpoint")
SUMS = (
    "requests", "errors", "prompt_tokens", "completion_tokens", "cost_nano", "latency_ms_sum", "first_token_ms_sum",
    "first_token_count",
)  # fmt: skip
SPLIT = f"""
WITH moved AS ({OF_THE_LEDGER}), split AS (
    UPDATE {{table}} AS kept SET {", ".join(f"{name} = kept.{name} - moved.{name}" for name in SUMS)}
    FROM (
        SELECT {", ".join(column for column in CELL if column != "endpoint")},
            {", ".join(f"sum({name}) AS {name}" for name in SUMS)}
        FROM moved GROUP BY {", ".join(column for column in CELL if column != "endpoint")}
    ) AS moved
    WHERE {SAME_CELL} AND kept.endpoint = '{CHAT}'
)
INSERT INTO {{table}} ({", ".join(CELL)}, cached_tokens, {", ".join(SUMS)}, updated_at)
SELECT {", ".join(f"moved.{column}" for column in CELL)}, moved.cached_tokens,
    {", ".join(f"moved.{name}" for name in SUMS)}, kept.updated_at
FROM moved JOIN {{table}} AS kept ON {SAME_CELL} AND kept.endpoint = '{CHAT}'
"""  # noqa: S608 - names only
DROP_EMPTY = "DELETE FROM {table} WHERE requests = 0"
COUNT_CACHED = f"""
UPDATE {{table}} AS kept SET cached_tokens = moved.cached_tokens
FROM ({OF_THE_LEDGER}) AS moved
WHERE {SAME_CELL} AND kept.endpoint = moved.endpoint
"""  # noqa: S608 - names only


def fill(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for table, width in (("usage_usagerollup5min", "5 minutes"), ("usage_usagerollup15min", "15 minutes")):
            no_chat = f"endpoint <> '{CHAT}'"
            cursor.execute(SPLIT.format(table=table, width=width, which=no_chat))
            cursor.execute(DROP_EMPTY.format(table=table))
            cached = f"cached_tokens > 0 AND endpoint = '{CHAT}'"
            cursor.execute(COUNT_CACHED.format(table=table, width=width, which=cached))


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_initial")]

    operations = [
        operation
        for model, name in (
            ("usagerollup5min", "one_row_per_5min_cell"),
            ("usagerollup15min", "one_row_per_15min_cell"),
        )
        for operation in (
            migrations.AddField(
                model, "endpoint", models.CharField(max_length=40, default=CHAT), preserve_default=False
            ),
            migrations.AddField(model, "cached_tokens", models.BigIntegerField(default=0)),
            migrations.RemoveConstraint(model, name),
            migrations.AddConstraint(model, models.UniqueConstraint(fields=CELL, name=name)),
        )
    ] + [migrations.RunPython(fill)]

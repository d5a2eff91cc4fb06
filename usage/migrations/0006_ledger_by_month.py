"""The ledger knows more of each call, and has a partition per month, by the time that ids begin with.

The rows of before are written anew, which docs/operators/usage.md says how long it takes.
"""

from django.db import migrations, models

BY_MONTH = """
-- Millions of rows take longer than a page may.
SET LOCAL statement_timeout = 0;

-- What no id is less than of an event at this moment.
CREATE FUNCTION usage_first_id(moment timestamp with time zone) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

ALTER TABLE usage_usageevent RENAME TO usage_usageevent_before;
ALTER TABLE usage_usageevent_before RENAME CONSTRAINT usage_usageevent_pkey TO usage_usageevent_before_pkey;

-- Those of one width side by side, so that none is padded.
CREATE TABLE usage_usageevent (
    id uuid NOT NULL PRIMARY KEY,
    at timestamp with time zone NOT NULL,
    cost_nano bigint NOT NULL,
    prompt_tokens integer NOT NULL CHECK (prompt_tokens >= 0),
    cached_tokens integer NOT NULL CHECK (cached_tokens >= 0),
    completion_tokens integer NOT NULL CHECK (completion_tokens >= 0),
    reasoning_tokens integer NOT NULL DEFAULT 0 CHECK (reasoning_tokens >= 0),
    latency_ms integer NOT NULL CHECK (latency_ms >= 0),
    first_token_ms integer CHECK (first_token_ms >= 0),
    status smallint NOT NULL CHECK (status >= 0),
    retries smallint NOT NULL DEFAULT 0 CHECK (retries >= 0),
    failovers smallint NOT NULL DEFAULT 0 CHECK (failovers >= 0),
    is_streamed boolean NOT NULL,
    is_estimated boolean NOT NULL,
    request_id varchar(40) NOT NULL,
    source varchar(12) NOT NULL,
    organization_id varchar(40) NOT NULL,
    project_id varchar(40) NOT NULL,
    key_id varchar(40) NOT NULL,
    user_id varchar(40) NOT NULL,
    model varchar(200) NOT NULL,
    asked_model varchar(200) NOT NULL DEFAULT '',
    backend varchar(60) NOT NULL,
    deployment varchar(300) NOT NULL DEFAULT '',
    endpoint varchar(40) NOT NULL,
    error_code varchar(60) NOT NULL,
    client varchar(40) NOT NULL DEFAULT ''
) PARTITION BY RANGE (id);

-- What no month has a partition for, since a clock was wrong or a call was late: an insert never fails.
CREATE TABLE usage_usageevent_other PARTITION OF usage_usageevent DEFAULT;

-- Makes the partition of a month unless it is there, and moves into it what had none.
CREATE FUNCTION usage_open_month(any_day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first_day date := date_trunc('month', any_day)::date;
    part text := 'usage_usageevent_' || to_char(first_day, 'YYYY_MM');
    lower_end uuid := usage_first_id(first_day AT TIME ZONE 'UTC');
    upper_end uuid := usage_first_id((first_day + interval '1 month') AT TIME ZONE 'UTC');
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN;
    END IF;
    -- What came between the move and the attachment would have neither place.
    LOCK TABLE usage_usageevent_other IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %I (LIKE usage_usageevent INCLUDING ALL)', part);
    EXECUTE format('WITH moved AS (DELETE FROM usage_usageevent_other WHERE id >= %L AND id < %L RETURNING *)
        INSERT INTO %I SELECT * FROM moved', lower_end, upper_end, part);
    EXECUTE format('ALTER TABLE usage_usageevent ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        part, lower_end, upper_end);
END $$;

SELECT usage_open_month((now() AT TIME ZONE 'UTC' + ahead * interval '1 month')::date)
    FROM generate_series(0, 3) AS ahead;
SELECT usage_open_month(month) FROM (
    SELECT DISTINCT date_trunc('month', at AT TIME ZONE 'UTC')::date AS month FROM usage_usageevent_before
) AS months;

INSERT INTO usage_usageevent (
    id, at, cost_nano, prompt_tokens, cached_tokens, completion_tokens, latency_ms, first_token_ms, status,
    is_streamed, is_estimated, request_id, source, organization_id, project_id, key_id, user_id, model, backend,
    endpoint, error_code
)
SELECT
    id, at, cost_nano, prompt_tokens, cached_tokens, completion_tokens, latency_ms, first_token_ms, status,
    is_streamed, is_estimated, request_id, source, organization_id, project_id, key_id, user_id, model, backend,
    endpoint, error_code
FROM usage_usageevent_before;
DROP TABLE usage_usageevent_before;

-- Whole once the rows are there, which is faster than with each of them.
CREATE INDEX event_by_request ON usage_usageevent (request_id);
CREATE INDEX event_by_project ON usage_usageevent (project_id, at DESC);
CREATE INDEX failure_by_project ON usage_usageevent (project_id, at DESC) WHERE status >= 400;
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0005_failures_by_project")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(BY_MONTH)],
            state_operations=[
                migrations.AlterField(
                    model_name="usageevent",
                    name="request_id",
                    field=models.CharField(max_length=40, verbose_name="request"),
                ),
                migrations.AddIndex(
                    model_name="usageevent",
                    index=models.Index(fields=["request_id"], name="event_by_request"),
                ),
                migrations.AddField(
                    model_name="usageevent",
                    name="asked_model",
                    field=models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The name in the call, where an alias or a fallback made another of it.",
                        max_length=200,
                        verbose_name="model asked for",
                    ),
                ),
                migrations.AddField(
                    model_name="usageevent",
                    name="client",
                    field=models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The library that made the call and its version; empty for unknown ones.",
                        max_length=40,
                        verbose_name="client",
                    ),
                ),
                migrations.AddField(
                    model_name="usageevent",
                    name="deployment",
                    field=models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The model’s name at the backend, where it is another.",
                        max_length=300,
                        verbose_name="deployment",
                    ),
                ),
                migrations.AddField(
                    model_name="usageevent",
                    name="failovers",
                    field=models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="How many servers were asked in vain before.",
                        verbose_name="fail-overs",
                    ),
                ),
                migrations.AddField(
                    model_name="usageevent",
                    name="reasoning_tokens",
                    field=models.PositiveIntegerField(db_default=0, default=0, verbose_name="of the output reasoning"),
                ),
                migrations.AddField(
                    model_name="usageevent",
                    name="retries",
                    field=models.PositiveSmallIntegerField(
                        db_default=0,
                        default=0,
                        help_text="How often the client had made the call before, as it says.",
                        verbose_name="retries",
                    ),
                ),
            ],
        ),
    ]

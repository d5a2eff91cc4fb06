"""A refusal by a key's budget of a month is called like those by all others, in calls and sums of before as well."""

from django.db import migrations

TABLES = (
    "usage_usageevent", "usage_usagerollup5min", "usage_usagerollup15min", "usage_usageprojecthour",
    "usage_usagekeyday", "usage_usageinstallationhour",
)  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0014_waited"),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL statement_timeout = 0", migrations.RunSQL.noop),
        *(
            migrations.RunSQL(
                f"UPDATE {table} SET error_code = 'key_monthly_budget' "  # noqa: S608 - names only
                "WHERE error_code = 'insufficient_quota' AND status >= 400",
                migrations.RunSQL.noop,
            )
            for table in TABLES
        ),
    ]

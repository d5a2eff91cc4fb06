from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "0008_budget_alerts")]

    operations = [
        # Millions of calls take longer than a page may.
        migrations.RunSQL("SET LOCAL statement_timeout = 0", migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="usageevent",
            index=models.Index(
                condition=models.Q(failovers__gt=0) | models.Q(retries__gt=0),
                fields=["at"],
                include=("backend", "model", "failovers", "retries"),
                name="event_made_again",
            ),
        ),
        migrations.AddIndex(
            model_name="usageprojecthour",
            index=models.Index(fields=["bucket_at"], name="project_hours_by_time"),
        ),
    ]

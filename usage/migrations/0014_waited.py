"""How much of the time of calls they waited, for their time at servers to be told apart: of those of before, none."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0013_told_of_credits"),
    ]

    operations = [
        # That no number is below zero is looked up in every call, which may take longer than a page may.
        migrations.RunSQL("SET LOCAL statement_timeout = 0", migrations.RunSQL.noop),
        migrations.AddField(
            model_name="usageevent",
            name="waited_ms",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="How long no server was at it: before one was reached, between two, or while the client read.",
                verbose_name="of it waited in milliseconds",
            ),
        ),
        migrations.AddField(
            model_name="usageinstallationhour",
            name="waited_ms_sum",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usagekeyday",
            name="waited_ms_sum",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usageorganizationday",
            name="waited_ms_sum",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usageprojecthour",
            name="waited_ms_sum",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usagerollup15min",
            name="waited_ms_sum",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usagerollup5min",
            name="waited_ms_sum",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
    ]

"""Credits that are granted to organizations, and what each call drew on them."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import usage.models

ONLY_ADDED_TO = """
CREATE FUNCTION usage_credits_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Grants of credits are only ever added to: % of % is refused.', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE ON usage_creditgrant
    FOR EACH ROW EXECUTE FUNCTION usage_credits_refuse();
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE ON usage_creditrevocation
    FOR EACH ROW EXECUTE FUNCTION usage_credits_refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON usage_creditgrant
    FOR EACH STATEMENT EXECUTE FUNCTION usage_credits_refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON usage_creditrevocation
    FOR EACH STATEMENT EXECUTE FUNCTION usage_credits_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0011_quarters_by_outcome"),
    ]

    operations = [
        migrations.AddField(
            model_name="usageevent",
            name="credit_nano",
            field=models.BigIntegerField(null=True, verbose_name="of the cost paid by credits"),
        ),
        migrations.AddField(
            model_name="usageevent",
            name="draws",
            field=models.JSONField(null=True, verbose_name="paid by each grant"),
        ),
        migrations.AddField(
            model_name="usageinstallationhour",
            name="credit_nano",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usagekeyday",
            name="credit_nano",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usageorganizationday",
            name="credit_nano",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usageprojecthour",
            name="credit_nano",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usagerollup15min",
            name="credit_nano",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="usagerollup5min",
            name="credit_nano",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.CreateModel(
            name="CreditDraw",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("grant_id", models.CharField(max_length=40, verbose_name="grant")),
                ("day", models.DateField(verbose_name="day")),
                ("organization_id", models.CharField(max_length=40, verbose_name="organization")),
                ("nano", models.BigIntegerField(verbose_name="drawn")),
            ],
            options={
                "verbose_name": "draw on credits",
                "verbose_name_plural": "draws on credits",
                "constraints": [models.UniqueConstraint(fields=("grant_id", "day"), name="one_row_per_grant_and_day")],
            },
        ),
        migrations.CreateModel(
            name="CreditGrant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(default=usage.models.grant_id, editable=False, max_length=40, unique=True),
                ),
                ("organization_id", models.CharField(db_index=True, max_length=40, verbose_name="organization")),
                ("amount_nano", models.BigIntegerField(help_text="In nano-dollars.", verbose_name="amount")),
                ("reason", models.CharField(max_length=200, verbose_name="reason")),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires")),
                ("granted_by", models.CharField(max_length=40, verbose_name="granted by")),
                ("at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="granted")),
            ],
            options={
                "verbose_name": "credit grant",
                "verbose_name_plural": "credit grants",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount_nano__gt", 0), ("amount_nano__lte", 9000000000000000)),
                        name="credits_of_an_amount",
                        violation_error_message="Grant more than nothing, and at most 9 million dollars.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CreditRevocation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(max_length=200, verbose_name="reason")),
                ("revoked_by", models.CharField(max_length=40, verbose_name="revoked by")),
                ("at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="revoked")),
                (
                    "grant",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="revocation",
                        to="usage.creditgrant",
                        verbose_name="grant",
                    ),
                ),
            ],
            options={
                "verbose_name": "credit revocation",
                "verbose_name_plural": "credit revocations",
            },
        ),
        migrations.RunSQL(ONLY_ADDED_TO),
    ]

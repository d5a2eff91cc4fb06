from django.db import migrations, models

# Rows of grants are never changed, so that those which are there are filled as the column is made.
AS_THE_AMOUNT = """
ALTER TABLE usage_creditgrant ADD COLUMN at_hand_nano bigint NOT NULL GENERATED ALWAYS AS (amount_nano) STORED;
ALTER TABLE usage_creditgrant ALTER COLUMN at_hand_nano DROP EXPRESSION;
"""


class Migration(migrations.Migration):
    """What there was to draw on once credits were granted, and what was told of credits, which has no end."""

    dependencies = [
        ("usage", "0012_credits"),
    ]

    operations = [
        migrations.RunSQL(
            AS_THE_AMOUNT,
            "ALTER TABLE usage_creditgrant DROP COLUMN at_hand_nano",
            state_operations=[
                migrations.AddField(
                    model_name="creditgrant",
                    name="at_hand_nano",
                    field=models.BigIntegerField(
                        help_text="What was left of the grants before, and this one.", verbose_name="then at hand"
                    ),
                    preserve_default=False,
                ),
            ],
        ),
        migrations.AlterField(
            model_name="budgetalert",
            name="ends_at",
            field=models.DateTimeField(db_index=True, null=True, verbose_name="until"),
        ),
    ]

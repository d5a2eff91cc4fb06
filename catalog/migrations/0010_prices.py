import django.db.models.deletion
import django.utils.timezone
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def note_current_prices(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """What models cost now is known to have held since now, and not since they were made."""
    hosted_model, model_price = apps.get_model("catalog", "HostedModel"), apps.get_model("catalog", "ModelPrice")
    model_price.objects.bulk_create(
        model_price(
            model=model.public_name,
            input_price_nano=model.input_price_nano,
            output_price_nano=model.output_price_nano,
        )
        for model in hosted_model.objects.all()
    )


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0009_more_limits"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ModelPrice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("model", models.CharField(max_length=200, verbose_name="model")),
                ("since", models.DateTimeField(default=django.utils.timezone.now, verbose_name="since")),
                ("input_price_nano", models.BigIntegerField(verbose_name="price of a million input tokens")),
                ("output_price_nano", models.BigIntegerField(verbose_name="price of a million output tokens")),
                (
                    "set_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="set by",
                    ),
                ),
            ],
            options={
                "verbose_name": "price",
                "verbose_name_plural": "prices",
                "indexes": [models.Index(fields=["model", "-since"], name="prices_of_model")],
            },
        ),
        migrations.RunPython(note_current_prices, migrations.RunPython.noop),
    ]

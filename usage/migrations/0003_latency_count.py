from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F


def count_as_before(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Sums of before hold the time of every call, refused ones too: their means stay as they were."""
    for name in ("UsageRollup5Min", "UsageRollup15Min"):
        apps.get_model("usage", name).objects.update(latency_count=F("requests"))


class Migration(migrations.Migration):
    dependencies = [("usage", "0002_sums_by_endpoint")]

    operations = [
        migrations.AddField("usagerollup5min", "latency_count", models.BigIntegerField(default=0, db_default=0)),
        migrations.AddField("usagerollup15min", "latency_count", models.BigIntegerField(default=0, db_default=0)),
        migrations.RunPython(count_as_before, migrations.RunPython.noop),
    ]

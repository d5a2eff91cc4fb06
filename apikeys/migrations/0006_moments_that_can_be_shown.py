from datetime import UTC, datetime, timedelta

from django.db import migrations

# What forms and the API accept is before this; rows from before they refused anything may hold the end of the calendar,
# which cannot be shown east of UTC.
TOO_LATE = datetime(9000, 1, 1, tzinfo=UTC)


def bring_nearer(apps, schema_editor):
    keys = apps.get_model("apikeys", "ApiKey").objects.filter(expires_at__gte=TOO_LATE)
    keys.update(expires_at=TOO_LATE - timedelta(seconds=1))


class Migration(migrations.Migration):
    dependencies = [("apikeys", "0005_digests_are_of_secrets")]

    operations = [migrations.RunPython(bring_nearer, migrations.RunPython.noop, elidable=True)]

from datetime import UTC, datetime, timedelta

from django.db import migrations

# What forms and the API accept is before this; rows from before they refused anything may hold the end of the calendar,
# which cannot be shown east of UTC.
TOO_LATE = datetime(9000, 1, 1, tzinfo=UTC)


def bring_nearer(apps, schema_editor):
    for model, field in (("Project", "ends_at"), ("JoinLink", "ends_at"), ("TermsVersion", "in_force_at")):
        rows = apps.get_model("accounts", model).objects.filter(**{f"{field}__gte": TOO_LATE})
        rows.update(**{field: TOO_LATE - timedelta(seconds=1)})


class Migration(migrations.Migration):
    dependencies = [("accounts", "0009_exports_and_erasures")]

    operations = [migrations.RunPython(bring_nearer, migrations.RunPython.noop, elidable=True)]

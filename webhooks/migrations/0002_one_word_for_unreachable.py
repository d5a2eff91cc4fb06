from django.db import migrations


def forget_which_it_was(apps, schema_editor):
    deliveries = apps.get_model("webhooks", "Delivery").objects
    deliveries.filter(failure__in=["unknown_host", "forbidden_address"]).update(failure="no_public_address")


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0001_initial")]

    operations = [migrations.RunPython(forget_which_it_was, migrations.RunPython.noop, elidable=True)]

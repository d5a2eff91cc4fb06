from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("apikeys", "0004_a_secret_of_each_key")]

    operations = [
        migrations.RemoveField(model_name="apikey", name="digest"),
        migrations.RemoveField(model_name="apikey", name="pepper_version"),
    ]

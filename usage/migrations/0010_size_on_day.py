from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "0009_made_again")]

    operations = [
        migrations.CreateModel(
            name="SizeOnDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(unique=True)),
                ("database_bytes", models.BigIntegerField()),
                ("files_bytes", models.BigIntegerField()),
            ],
            options={"verbose_name": "size on a day", "verbose_name_plural": "sizes by day"},
        ),
    ]

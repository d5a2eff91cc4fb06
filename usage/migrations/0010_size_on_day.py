from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "0009_made_again")]

    operations = [
        migrations.CreateModel(
            name="SizeOnDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(unique=True, verbose_name="day")),
                ("database_bytes", models.BigIntegerField(verbose_name="bytes of the database")),
                ("files_bytes", models.BigIntegerField(verbose_name="bytes of files")),
            ],
            options={"verbose_name": "size on a day", "verbose_name_plural": "sizes by day"},
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("community", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="post",
            name="renderer_version",
            field=models.PositiveSmallIntegerField(editable=False),
        ),
    ]

import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0011_who_came_by_a_link"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="membership",
            index=models.Index(fields=["organization", "created_at", "id"], name="membership_by_time"),
        ),
        migrations.AddIndex(
            model_name="membership",
            index=models.Index(
                models.F("organization"),
                models.Case(
                    models.When(role="owner", then=models.Value(0)),
                    models.When(role="admin", then=models.Value(1)),
                    models.When(role="member", then=models.Value(2)),
                    models.When(role="viewer", then=models.Value(3)),
                    models.When(role="billing", then=models.Value(4)),
                    models.When(role="guest", then=models.Value(5)),
                    output_field=models.IntegerField(),
                ),
                models.F("id"),
                name="membership_by_rank",
            ),
        ),
        migrations.AddIndex(
            model_name="user",
            index=models.Index(django.db.models.functions.text.Upper("name"), name="user_by_name"),
        ),
    ]

from django.db import migrations, models
from django.db.models import OuterRef, Q, Subquery


def blame_the_secrets_of_that_time(apps, schema_editor):
    key_model, secret_model = apps.get_model("apikeys", "ApiKey"), apps.get_model("apikeys", "KeySecret")
    # Which of them it was is not known; what had ended or was not made yet it cannot have been.
    found_at = key_model.objects.filter(pk=OuterRef("key")).values("leaked_at")
    at_that_time = Q(created_at__lte=models.F("key__leaked_at")) & (
        Q(valid_until=None) | Q(valid_until__gt=models.F("key__leaked_at"))
    )
    secret_model.objects.filter(at_that_time).update(leaked_at=Subquery(found_at))


class Migration(migrations.Migration):
    dependencies = [("apikeys", "0006_moments_that_can_be_shown")]

    operations = [
        migrations.AddField(
            model_name="keysecret",
            name="leaked_at",
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name="seen leaked at"),
        ),
        migrations.RunPython(blame_the_secrets_of_that_time, migrations.RunPython.noop, elidable=True),
    ]

from django.db import migrations
from django.utils import timezone

from common.ids import new_id


def move_to_secrets(apps, schema_editor):
    key_model, secret_model = apps.get_model("apikeys", "ApiKey"), apps.get_model("apikeys", "KeySecret")
    batch = []
    for key in key_model.objects.iterator(chunk_size=1000):
        batch.append(
            secret_model(
                public_id=new_id("sec"),
                key=key,
                prefix=key.prefix,
                last4=key.last4,
                digest=key.digest,
                pepper_version=key.pepper_version,
                created_at=key.created_at or timezone.now(),
                last_used_at=key.last_used_at,
            )
        )
        if len(batch) == 1000:
            secret_model.objects.bulk_create(batch)
            batch = []
    secret_model.objects.bulk_create(batch)


class Migration(migrations.Migration):
    dependencies = [("apikeys", "0003_terms_and_secrets")]

    operations = [migrations.RunPython(move_to_secrets, migrations.RunPython.noop)]

import django.contrib.postgres.fields
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import catalog.models


def take_over(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """What a model was marked to do, it can be used for."""
    for model in apps.get_model("catalog", "HostedModel").objects.all():
        marks = {"chat": model.chats, "embeddings": model.embeds}
        model.uses = [use for use, is_marked in marks.items() if is_marked]
        model.save(update_fields=["uses"])


class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="hostedmodel",
            name="uses",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("chat", "Chat"),
                        ("embeddings", "Embeddings"),
                        ("reranking", "Reranking"),
                        ("moderation", "Moderation"),
                        ("transcription", "Transcription"),
                        ("speech", "Speech"),
                        ("images", "Pictures"),
                    ],
                    max_length=20,
                ),
                blank=True,
                default=catalog.models.chat_only,
                size=None,
                verbose_name="uses",
            ),
        ),
        migrations.RunPython(take_over, migrations.RunPython.noop, elidable=True),
        migrations.RemoveField(model_name="hostedmodel", name="chats"),
        migrations.RemoveField(model_name="hostedmodel", name="embeds"),
    ]

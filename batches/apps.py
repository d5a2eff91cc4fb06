from functools import partial
from typing import Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class BatchesConfig(AppConfig):
    name = "batches"
    verbose_name = _("Files and batches")

    def ready(self) -> None:
        from django.db.models.signals import post_delete

        from accounts import holdings
        from batches.holding import HOLDING
        from batches.models import BatchPart, StoredFile

        holdings.register(HOLDING)
        for model in (StoredFile, BatchPart):
            post_delete.connect(remove_from_storage, sender=model, dispatch_uid=f"remove_{model.__name__}")


def remove_from_storage(*, instance: Any, **_signal: Any) -> None:
    """What a row stood for goes once the row is gone for good, whatever took it along: its project, for instance."""
    from django.db import transaction

    from batches import storing

    transaction.on_commit(partial(storing.remove, instance.stored_as), robust=True)

"""Tells every process that routes calls that the catalog changed."""

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save

from catalog.models import Backend, Deployment, HostedModel, ModelAlias
from common import redis

CHANNEL = "ly:catalog:changed"


def catalog_changed(**_signal: Any) -> None:
    """Once the transaction in hand is committed, tell everybody who listens on `CHANNEL`.

    Saving or deleting a row does this by itself; code that writes rows in bulk calls it. With Redis away nothing is
    raised: who routes calls reads the catalog again every few seconds anyway.
    """
    transaction.on_commit(_announce, robust=True)


def _announce() -> None:
    redis.durable().publish(CHANNEL, "")


def connect() -> None:
    """Listen to the models; called once, when the app is ready."""
    for model in (Backend, HostedModel, Deployment, ModelAlias):
        for signal in (post_save, post_delete):
            signal.connect(catalog_changed, sender=model, dispatch_uid=f"catalog_changed_{model.__name__}")

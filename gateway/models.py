"""The models a caller may name, as OpenAI lists them."""

from typing import Any

from django.conf import settings

from catalog.routing import RoutedModel


def listing(models: list[RoutedModel]) -> dict[str, Any]:
    """`GET /v1/models`."""
    return {"object": "list", "data": [described(model) for model in models]}


def described(model: RoutedModel) -> dict[str, Any]:
    """`GET /v1/models/{id}`."""
    return {"id": model.name, "object": "model", "created": model.created, "owned_by": settings.PORTAL_NAME}

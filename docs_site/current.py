"""What samples name here and now: this portal's address, and models that it serves."""

from django.conf import settings

from catalog.models import HostedModel
from docs_site.samples import Values
from inference.uses import Use


def values() -> Values:
    """This portal's address and the models its samples name: offered, and ones that answer first."""
    offered = list(HostedModel.objects.offered().best_first().values_list("public_name", "uses"))
    chat = next((name for name, uses in offered if Use.CHAT in uses), None)
    embedding = next((name for name, uses in offered if Use.EMBEDDINGS in uses), None)
    return Values(
        portal_url=settings.PUBLIC_URL.rstrip("/"),
        chat_model=chat or "your-chat-model",
        embedding_model=embedding or "your-embedding-model",
        has_models=chat is not None,
    )

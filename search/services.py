"""Putting things into the search index, taking them out, finding them."""

from collections.abc import Collection, Iterable

from django.contrib.postgres.search import SearchVectorField
from django.db.models import TextField, Value
from django.db.models.functions import Cast
from django.utils import timezone

from search import tokens
from search.models import SearchDocument, SearchDocumentQuerySet

MAX_BODY_CHARACTERS = 100_000


def index(
    *,
    kind: str,
    object_id: str,
    title: str,
    body: str,
    url: str,
    tags: Iterable[str] = (),
    language: str = "",
) -> None:
    """Make the object findable as it is now; an earlier state of it in the same language is replaced."""
    tag_line = " ".join(tags)[:300]
    body = body[:MAX_BODY_CHARACTERS].replace("\x00", "")
    vector = tokens.vector(title=title, tags=tag_line, body=body)
    document = SearchDocument(
        kind=kind,
        object_id=object_id,
        language=language,
        title=title[:300],
        tags=tag_line,
        body=body,
        url=url,
        vector=Cast(Value(vector, output_field=TextField()), SearchVectorField()),
        updated_at=timezone.now(),
    )
    SearchDocument.objects.bulk_create(
        [document],
        update_conflicts=True,
        unique_fields=["kind", "object_id", "language"],
        update_fields=["title", "tags", "body", "url", "vector", "updated_at"],
    )


def forget(*, kind: str, object_id: str) -> None:
    """Take the object out of the index, in every language."""
    SearchDocument.objects.filter(kind=kind, object_id=object_id).delete()


def find(text: str, *, kinds: Collection[str] = (), language: str = "") -> SearchDocumentQuerySet:
    """Documents that hold every word of `text`, best first. `language` empty means any."""
    documents = SearchDocument.objects.best_first(text)
    if kinds:
        documents = documents.filter(kind__in=kinds)
    if language:
        documents = documents.filter(language__in=["", language])
    return documents.defer("vector")

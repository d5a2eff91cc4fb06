"""One table of all that can be searched, everybody alike. Apps write into it; it points back only by address."""

from typing import Self

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchQuery, SearchRank, SearchVectorField
from django.db import models
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from search import tokens


class ReadyQuery(SearchQuery):
    """A tsquery written by search.tokens: PostgreSQL must not parse its words again."""

    template = "CAST(%(expressions)s AS tsquery)"

    def __init__(self, text: str) -> None:
        super().__init__(tokens.query(text), search_type="raw")


class SearchDocumentQuerySet(models.QuerySet["SearchDocument"]):
    def matching(self, text: str) -> Self:
        """Documents that hold every word of `text`; none when it holds no word."""
        if not tokens.query(text):
            return self.none()
        return self.filter(vector=ReadyQuery(text))

    def best_first(self, text: str) -> Self:
        """Those that match `text`, a match in the title before one in the tags before one in the text."""
        return self.matching(text).annotate(rank=SearchRank(F("vector"), ReadyQuery(text))).order_by("-rank", "-pk")


class SearchDocument(models.Model):
    """What can be found of one object, in one language."""

    kind = models.CharField(_("kind"), max_length=20)
    object_id = models.CharField(_("object"), max_length=120)
    language = models.CharField(_("language"), max_length=10, blank=True)
    title = models.CharField(_("title"), max_length=300)
    tags = models.CharField(_("tags"), max_length=300, blank=True)
    body = models.TextField(_("text"), blank=True)
    url = models.CharField(_("address"), max_length=500)
    vector = SearchVectorField(editable=False)
    updated_at = models.DateTimeField(_("updated at"), default=timezone.now, editable=False)

    objects = SearchDocumentQuerySet.as_manager()

    class Meta:
        verbose_name = _("search document")
        verbose_name_plural = _("search documents")
        constraints = [
            models.UniqueConstraint(fields=["kind", "object_id", "language"], name="one_document_per_object"),
        ]
        indexes = [GinIndex(fields=["vector"], name="search_words")]

    def __str__(self) -> str:
        return self.title

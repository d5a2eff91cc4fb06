"""The newest questions for feed readers."""

import re

from django.contrib.syndication.views import Feed
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.feedgenerator import Atom1Feed
from django.utils.translation import gettext as _

from forum.models import Question

# What people paste with their terminal's output, and XML cannot hold in any spelling.
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class NewestQuestions(Feed[object, Question]):
    """Only what strangers may see, as the page shows it."""

    feed_type = Atom1Feed

    def title(self) -> str:
        return _("Newest questions")

    def link(self) -> str:
        return reverse("forum:index")

    def items(self) -> "QuerySet[Question]":
        return Question.objects.for_list().order_by("-created_at", "-pk")[:30]

    def item_title(self, item: object) -> str:
        return _NOT_IN_XML.sub("", str(item))

    def item_description(self, item: object) -> str:
        return _NOT_IN_XML.sub("", item.post.html) if isinstance(item, Question) else ""

    def item_author_name(self, item: Question) -> str:
        return _NOT_IN_XML.sub("", item.post.author.display_name)

    def item_pubdate(self, item: Question) -> object:
        return item.created_at

    def item_updateddate(self, item: Question) -> object:
        return item.last_activity_at

    def item_categories(self, item: Question) -> list[str]:
        return [tag.name for tag in item.tags.all()]

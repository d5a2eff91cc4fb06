"""What the forum does when community changes one of its posts."""

from typing import Any

from django.db.models import F, Q
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from community.models import Post, PostKind
from community.signals import post_state_changed, posts_rendered
from forum.access import question_of
from forum.models import Question
from forum.services import SEARCH_KIND, recount, reindex
from search import services as search

KINDS = {PostKind.QUESTION, PostKind.ANSWER, PostKind.COMMENT}


@receiver(post_state_changed)
def keep_counts(post: Post, **kwargs: Any) -> None:
    """What is hidden leaves the lists, the counts and the search index with it, and comes back with it."""
    if post.kind in KINDS:
        recount(question_of(post))


@receiver(posts_rendered)
def find_by_what_is_shown(posts: list[Post], **kwargs: Any) -> None:
    """The search index has the words of the HTML."""
    of_posts = Q(post__in=posts) | Q(answers__post__in=posts) | Q(comments__post__in=posts)
    for question in Question.objects.filter(of_posts).distinct():
        reindex(question)


@receiver(pre_delete, sender=Question)
def forget_question(instance: Question, **kwargs: Any) -> None:
    """A row that goes (sample data is removed so) leaves nothing behind where no foreign key reaches."""
    if instance.is_listed:
        instance.tags.update(question_count=F("question_count") - 1)
    search.forget(kind=SEARCH_KIND, object_id=instance.public_id)

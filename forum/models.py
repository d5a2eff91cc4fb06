"""Questions, their answers and short comments. What each says is a community.Post; here is how they hang together."""

from typing import Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from common.ids import new_id
from community.models import Post, PostState, Tag


def question_id() -> str:
    return new_id("q")


def answer_id() -> str:
    return new_id("a")


def comment_id() -> str:
    return new_id("c")


class QuestionQuerySet(models.QuerySet["Question"]):
    def for_list(self) -> Self:
        return self.filter(is_listed=True).select_related("post__author").prefetch_related("tags")

    def for_thread(self, user: User | AnonymousUser) -> Self:
        return (
            self.filter(post__in=Post.objects.readable_by(user))
            .select_related("post__author", "accepted_answer")
            .prefetch_related("tags")
        )

    def unanswered(self) -> Self:
        return self.filter(answer_count=0)

    def tagged(self, name: str) -> Self:
        return self.filter(tags__name=name)


class Question(models.Model):
    """A question, with the figures its lists show stored beside it (`forum.services.recount` keeps them true)."""

    public_id = models.CharField(max_length=40, unique=True, default=question_id, editable=False)
    post = models.OneToOneField(Post, on_delete=models.CASCADE, related_name="question")
    title = models.CharField(_("title"), max_length=150)
    tags = models.ManyToManyField(Tag, verbose_name=_("tags"), related_name="questions", blank=True)
    accepted_answer = models.ForeignKey(
        "Answer", on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("accepted answer")
    )
    # Whether strangers may see it: the state of its post, repeated here for the indexes of the lists.
    is_listed = models.BooleanField(_("listed"), default=True, editable=False)
    is_solved = models.BooleanField(_("solved"), default=False, editable=False)
    answer_count = models.PositiveIntegerField(_("answers"), default=0, editable=False)
    created_at = models.DateTimeField(_("asked at"), default=timezone.now, editable=False)
    last_activity_at = models.DateTimeField(_("last activity at"), default=timezone.now, editable=False)

    objects = QuestionQuerySet.as_manager()

    class Meta:
        verbose_name = _("question")
        verbose_name_plural = _("questions")
        indexes = [
            models.Index(fields=["-created_at", "-id"], condition=Q(is_listed=True), name="question_newest"),
            models.Index(fields=["-last_activity_at", "-id"], condition=Q(is_listed=True), name="question_active"),
            models.Index(
                fields=["-created_at", "-id"],
                condition=Q(is_listed=True, answer_count=0),
                name="question_unanswered",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("forum:question", args=[self.public_id, self.slug])

    @property
    def slug(self) -> str:
        return slugify(self.title, allow_unicode=True)[:80].strip("-") or "question"


class AnswerQuerySet(models.QuerySet["Answer"]):
    def for_thread(self, question: Question, user: User | AnonymousUser) -> Self:
        """The answers the user may read: the accepted one first, then by score, then the oldest."""
        return (
            self.filter(question=question)
            .filter(_readable(user))
            .select_related("post__author")
            .annotate(
                is_accepted=models.ExpressionWrapper(
                    Q(pk=question.accepted_answer_id, post__state=PostState.VISIBLE), models.BooleanField()
                )
            )
            .order_by("-is_accepted", "-post__score", "pk")
        )


class Answer(models.Model):
    """An answer; its post's parent is the question's post."""

    public_id = models.CharField(max_length=40, unique=True, default=answer_id, editable=False)
    post = models.OneToOneField(Post, on_delete=models.CASCADE, related_name="answer")
    question = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="answers")

    objects = AnswerQuerySet.as_manager()

    class Meta:
        verbose_name = _("answer")
        verbose_name_plural = _("answers")

    def __str__(self) -> str:
        return self.public_id


class CommentQuerySet(models.QuerySet["Comment"]):
    def for_thread(self, question: Question, user: User | AnonymousUser) -> Self:
        """The comments on the question and its answers that the user may read, oldest first."""
        return self.filter(question=question).filter(_readable(user)).select_related("post__author").order_by("pk")


class Comment(models.Model):
    """A short remark; its post's parent is what it is about."""

    public_id = models.CharField(max_length=40, unique=True, default=comment_id, editable=False)
    post = models.OneToOneField(Post, on_delete=models.CASCADE, related_name="comment")
    question = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="comments")

    objects = CommentQuerySet.as_manager()

    class Meta:
        verbose_name = _("comment")
        verbose_name_plural = _("comments")

    def __str__(self) -> str:
        return self.public_id


def _readable(user: User | AnonymousUser) -> Q:
    """Posts of a thread whose question the user may read."""
    if isinstance(user, User) and user.is_staff:
        return Q()
    readable = Q(post__state=PostState.VISIBLE)
    return readable | Q(post__author=user) if isinstance(user, User) else readable

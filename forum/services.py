"""What people do in the forum: ask, answer, comment, edit, accept, delete."""

from collections.abc import Iterable, Sequence
from itertools import chain

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from common.markdown import plain_text
from community import pace
from community import services as posts
from community.errors import RefusedError
from community.models import Post, PostKind, PostState, Tag
from community.services import PostedAlreadyError
from forum.access import question_of
from forum.models import Answer, Comment, Question
from notifications.services import notify
from search import services as search

MAX_TAGS = 5
SEARCH_KIND = "question"
# What a thread adds to the search index: enough to be found by its best answers.
INDEXED_REPLIES = 200


def ask(
    *, author: User, title: str, source: str, tags: Sequence[str] = (), submission: str = "", is_sample: bool = False
) -> Question:
    """A new question; the one already asked when the same form is sent again."""
    try:
        with transaction.atomic():
            post = posts.create_post(
                author=author,
                kind=PostKind.QUESTION,
                source=source,
                title=title,
                tags=" ".join(tags),
                submission=submission,
                is_sample=is_sample,
            )
            question = Question.objects.create(post=post, title=title)
            _set_tags(question, tags)
            reindex(question)
            return question
    except PostedAlreadyError:
        return Question.objects.get(post__author=author, post__submission=submission)


def answer(*, question: Question, author: User, source: str, submission: str = "", is_sample: bool = False) -> Answer:
    """A new answer, of which the asker is told; the one already given when the same form is sent again."""
    try:
        with transaction.atomic():
            post = _reply(question, question.post, author, PostKind.ANSWER, source, submission, is_sample)
            given = Answer.objects.create(post=post, question=question)
            Question.objects.filter(pk=question.pk).update(last_activity_at=timezone.now())
            recount(question)
            _tell(question.post.author, "forum.answer", question, post, address=given.public_id)
            return given
    except PostedAlreadyError:
        return Answer.objects.get(post__author=author, post__submission=submission)


def comment(
    *, question: Question, on: Post, author: User, source: str, submission: str = "", is_sample: bool = False
) -> Comment:
    """A comment on the question or one of its answers, of which that post's author is told."""
    try:
        with transaction.atomic():
            post = _reply(question, on, author, PostKind.COMMENT, source, submission, is_sample)
            made = Comment.objects.create(post=post, question=question)
            reindex(question)
            _tell(on.author, "forum.comment", question, post, address=made.public_id)
            return made
    except PostedAlreadyError:
        return Comment.objects.get(post__author=author, post__submission=submission)


def _reply(
    question: Question, parent: Post, author: User, kind: PostKind, source: str, submission: str, is_sample: bool
) -> Post:
    # The asker or a moderator may have taken the question away while this was being written.
    state = Post.objects.select_for_update().values_list("state", flat=True).get(pk=question.post_id)
    if state != PostState.VISIBLE or not parent.is_visible:
        raise RefusedError(_("This post is not visible any more, so nothing can be added to it."))
    return posts.create_post(
        author=author, kind=kind, source=source, parent=parent, submission=submission, is_sample=is_sample
    )


@transaction.atomic
def edit(
    *,
    post: Post,
    by: User,
    source: str,
    base: int,
    title: str = "",
    tags: Sequence[str] = (),
    summary: str = "",
) -> None:
    """Change a post of a thread; `title` and `tags` count for a question only."""
    question = question_of(post)
    changed = posts.edit_post(
        post=post, by=by, source=source, base=base, title=title, tags=" ".join(tags), summary=summary
    )
    if not changed:
        return
    # A moderator may have hidden it since this request read it.
    question = Question.objects.select_for_update().get(pk=question.pk)
    question.last_activity_at = timezone.now()
    if post.kind == PostKind.QUESTION:
        question.title = title
        _set_tags(question, tags)
    question.save(update_fields=["title", "last_activity_at"])
    reindex(question)


@transaction.atomic
def accept(*, answer: Answer, by: User) -> bool:
    """Mark the answer that solved the question, or take the mark from it; True when it is accepted now.

    Raises RefusedError for anyone but the asker.
    """
    pace.check_may_write(by)
    question = (
        Question.objects.select_for_update(of=("self",)).select_related("post__author").get(pk=answer.question_id)
    )
    if question.post.author_id != by.pk:
        raise RefusedError(_("Only who asked can accept an answer."))
    answer.post.refresh_from_db(fields=["state"])
    if not answer.post.is_visible or question.post.is_frozen:
        raise RefusedError(_("This answer cannot be accepted."))
    is_accepted = question.accepted_answer_id != answer.pk
    question.accepted_answer = answer if is_accepted else None
    question.save(update_fields=["accepted_answer"])
    recount(question)
    if is_accepted:
        _tell(answer.post.author, "forum.accepted", question, answer.post, address=answer.public_id, actor=by)
    return is_accepted


@transaction.atomic
def delete(*, post: Post, by: User) -> None:
    """The author takes a post back.

    Raises RefusedError when others have built on it: a question with answers, an accepted answer.
    """
    question = question_of(post)
    # Whoever answers or accepts at this moment goes first or finds it gone. Locked as everywhere: posts, then question.
    list(Post.objects.select_for_update().filter(pk__in=[question.post_id, post.pk]).order_by("pk"))
    question = Question.objects.select_for_update().get(pk=question.pk)
    if post.kind == PostKind.QUESTION and question.answer_count:
        raise RefusedError(_("Others have answered this question, so it stays. Edit it if something in it must go."))
    if post.kind == PostKind.ANSWER and question.accepted_answer_id == post.answer.pk:
        raise RefusedError(_("This answer was accepted, so it stays. Edit it if something in it must go."))
    posts.delete_post(post=post, by=by)


def recount(question: Question) -> None:
    """Bring the figures stored beside the question, the counts of its tags and the search index up to date."""
    question = (
        Question.objects.select_for_update(of=("self",))
        .select_related("post", "accepted_answer__post")
        .get(pk=question.pk)
    )
    was_listed = question.is_listed
    accepted = question.accepted_answer
    question.is_listed = question.post.is_visible
    question.is_solved = accepted is not None and accepted.post.is_visible
    question.answer_count = question.answers.filter(post__state=PostState.VISIBLE).count()
    question.save(update_fields=["is_listed", "is_solved", "answer_count"])
    if was_listed != question.is_listed:
        _count_tags(question.tags.values_list("pk", flat=True), 1 if question.is_listed else -1)
    reindex(question)


def reindex(question: Question) -> None:
    """Make the question findable by its own words and those of its replies, or not at all when it is not listed."""
    # As it is now: what a moderator hid while somebody wrote must not come back with what they wrote.
    question = Question.objects.select_for_update(of=("self",)).select_related("post").get(pk=question.pk)
    if not question.is_listed:
        search.forget(kind=SEARCH_KIND, object_id=question.public_id)
        return
    replies = Post.objects.visible().filter(answer__question=question).order_by("-score", "pk")
    remarks = Post.objects.visible().filter(comment__question=question, parent__state=PostState.VISIBLE).order_by("pk")
    rendered = chain(
        [question.post.html],
        replies.values_list("html", flat=True)[:INDEXED_REPLIES],
        remarks.values_list("html", flat=True)[:INDEXED_REPLIES],
    )
    search.index(
        kind=SEARCH_KIND,
        object_id=question.public_id,
        title=question.title,
        body="\n".join(map(plain_text, rendered)),
        url=question.get_absolute_url(),
        tags=[tag.name for tag in question.tags.all()],
    )


def _set_tags(question: Question, names: Sequence[str]) -> None:
    Tag.objects.bulk_create([Tag(name=name) for name in names], ignore_conflicts=True)
    before = set(question.tags.values_list("pk", flat=True))
    after = set(Tag.objects.filter(name__in=names).values_list("pk", flat=True))
    question.tags.set(after)
    if question.is_listed:
        _count_tags(after - before, 1)
        _count_tags(before - after, -1)


def _count_tags(pks: Iterable[int], change: int) -> None:
    Tag.objects.filter(pk__in=pks).update(question_count=F("question_count") + change)


def _tell(
    recipient: User, kind: str, question: Question, source: Post, *, address: str, actor: User | None = None
) -> None:
    notify(
        recipient=recipient,
        kind=kind,
        object_id=question.post.public_id,
        source=source.public_id,
        actor=actor or source.author,
        title=question.title,
        url=f"{question.get_absolute_url()}#{address}",
    )

"""A thread as one reader sees it: every post with its comments, their vote, and what they may do."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.contrib.auth.models import AnonymousUser

from accounts.models import User
from community.models import ActKind, ModerationAct, Post, PostState, Vote
from community.services import may_edit
from forum.models import Answer, Comment, Question

ANSWERS_SHOWN = 30


@dataclass
class Entry:
    """One post of the thread. `anchor` is its place on the page."""

    post: Post
    anchor: str
    is_own: bool
    may_edit: bool
    may_delete: bool = False
    my_vote: int = 0
    is_accepted: bool = False
    hidden_because: str = ""
    comments: list["Entry"] = field(default_factory=list)


@dataclass(frozen=True)
class Thread:
    question: Question
    entry: Entry
    answers: list[Entry]
    more_from: int | None
    may_accept: bool
    is_frozen: bool


def read(question: Question, user: User | AnonymousUser, *, start: int = 0) -> Thread:
    """The question with the answers from the `start`-th on, as many as a page shows.

    Three queries for a visitor (answers, comments, and the question came before), one more for the votes of someone
    signed in, and one for the reasons when the reader may see something that is hidden.
    """
    answers = list(Answer.objects.for_thread(question, user)[start : start + ANSWERS_SHOWN + 1])
    more = len(answers) > ANSWERS_SHOWN
    answers = answers[:ANSWERS_SHOWN]
    # Parents are in hand already; asking the database for each would be one query per post.
    shown = {question.post_id: question.post}
    for answer in answers:
        answer.post.parent = question.post
        shown[answer.post_id] = answer.post
    comments = list(Comment.objects.for_thread(question, user).filter(post__parent__in=shown))
    for comment in comments:
        comment.post.parent = shown[comment.post.parent_id or 0]
    entries = {question.post_id: _entry(question.post, question.public_id, user)}
    for answer in answers:
        entries[answer.post_id] = _entry(answer.post, answer.public_id, user)
        entries[answer.post_id].is_accepted = answer.pk == question.accepted_answer_id and answer.post.is_visible
    for comment in comments:
        entry = _entry(comment.post, comment.public_id, user)
        entries[comment.post.parent_id or 0].comments.append(entry)
    _add_votes(entries, user)
    everyone = [*entries.values(), *(remark for entry in entries.values() for remark in entry.comments)]
    for entry in everyone:
        # What others built on stays (forum.services.delete).
        is_built_on = entry.is_accepted or (entry.post.pk == question.post_id and question.answer_count > 0)
        entry.may_delete = entry.is_own and entry.may_edit and entry.post.is_visible and not is_built_on
    _add_reasons(everyone)
    return Thread(
        question=question,
        entry=entries[question.post_id],
        answers=[entries[answer.post_id] for answer in answers],
        more_from=start + ANSWERS_SHOWN if more else None,
        may_accept=question.post.author_id == user.pk and not question.post.is_frozen,
        is_frozen=question.post.is_frozen,
    )


def _entry(post: Post, anchor: str, user: User | AnonymousUser) -> Entry:
    return Entry(post=post, anchor=anchor, is_own=post.author_id == user.pk, may_edit=may_edit(user, post))


def _add_votes(entries: dict[int, Entry], user: User | AnonymousUser) -> None:
    if isinstance(user, User):
        votes = Vote.objects.filter(voter=user, post__in=entries).values_list("post", "value")
        for post, value in votes:
            entries[post].my_vote = value


def _add_reasons(entries: Iterable[Entry]) -> None:
    hidden = {entry.post.pk: entry for entry in entries if entry.post.state == PostState.HIDDEN}
    if hidden:
        # Putting a restored post back into hiding has no reason of its own: the one before it stands.
        acts = ModerationAct.objects.filter(post__in=hidden, kind=ActKind.HIDE).exclude(reason="").order_by("pk")
        for act in acts:
            hidden[act.post_id or 0].hidden_because = act.reason

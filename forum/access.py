"""Who may fetch what: views reach questions, answers and the posts of a thread through here only."""

from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser
from django.http import Http404

from accounts.models import User
from community.models import Post, PostKind
from forum.models import Answer, Question


def question_for(user: User | AnonymousUser, public_id: str) -> Question:
    """A question the user may read; 404 for anyone else, who cannot tell it from one that is not."""
    question = Question.objects.for_thread(user).filter(public_id=public_id).first()
    if question is None:
        raise Http404
    return question


def answer_for(user: User | AnonymousUser, public_id: str) -> Answer:
    """An answer the user may read, in a thread they may read; else 404."""
    answers = Answer.objects.filter(post__in=Post.objects.readable_by(user))
    answer = (
        answers.select_related("post__author", "post__parent", "question__post__author")
        .filter(public_id=public_id)
        .first()
    )
    if answer is None:
        raise Http404
    return answer


@dataclass(frozen=True)
class Member:
    """A post and the question whose thread it is in."""

    post: Post
    question: Question


def member_for(user: User | AnonymousUser, post_id: str) -> Member:
    """A post of any thread that the user may read, with its question; else 404."""
    posts = Post.objects.readable_by(user).select_related(
        "author", "parent__parent", "question", "answer__question", "comment__question"
    )
    post = posts.filter(public_id=post_id, kind__in=[PostKind.QUESTION, PostKind.ANSWER, PostKind.COMMENT]).first()
    if post is None:
        raise Http404
    return Member(post, question_of(post))


def question_of(post: Post) -> Question:
    """The question whose thread the post is in."""
    match post.kind:
        case PostKind.QUESTION:
            return post.question
        case PostKind.ANSWER:
            return post.answer.question
        case _:
            return post.comment.question

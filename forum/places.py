"""Where the posts of the forum are read."""

from collections.abc import Collection

from community.models import Post
from community.registry import Place
from forum.models import Answer, Comment, Question


def of_questions(posts: Collection[Post]) -> dict[int, Place]:
    questions = Question.objects.filter(post__in=posts)
    return {question.post_id: Place(question.title, question.get_absolute_url()) for question in questions}


def of_answers(posts: Collection[Post]) -> dict[int, Place]:
    answers = Answer.objects.filter(post__in=posts).select_related("question")
    return {answer.post_id: _within(answer.question, answer.public_id) for answer in answers}


def of_comments(posts: Collection[Post]) -> dict[int, Place]:
    comments = Comment.objects.filter(post__in=posts).select_related("question")
    return {comment.post_id: _within(comment.question, comment.public_id) for comment in comments}


def _within(question: Question, public_id: str) -> Place:
    return Place(question.title, f"{question.get_absolute_url()}#{public_id}")

"""Somebody suspended reads everything, hears before they write that they cannot, and loses nothing they wrote."""

import pytest
from django.test import Client

from accounts.models import User
from accounts.services import suspend_user
from forum.models import Answer, Question

NOTICE = "Your account is suspended: you can read, but not write. Your API keys go on working."
TEXT = "Words written while a moderator decided."


@pytest.fixture
def pages(question: Question, answer: Answer) -> dict[str, dict[str, str]]:
    """What can be written where."""
    return {
        "/forum/ask/": {"title": "A question of somebody suspended", "text": TEXT},
        question.get_absolute_url(): {"text": TEXT},
        f"/forum/posts/{question.post.public_id}/comment/": {"text": TEXT},
        f"/forum/posts/{answer.post.public_id}/edit/": {"text": TEXT, "base": "1"},
        f"/community/posts/{question.post.public_id}/flag/": {"reason": "other", "note": TEXT},
    }


def test_it_works(ben: User, ben_client: Client, pages: dict[str, dict[str, str]], question: Question) -> None:
    suspend_user(user=ben, by=ben)
    for path in pages:
        page = ben_client.get(path).content.decode()
        assert NOTICE in page, path
        assert "<textarea" not in page, path
    assert f"/posts/{question.post.public_id}/flag/" not in ben_client.get(question.get_absolute_url()).content.decode()


def test_what_was_being_written_is_kept(ben: User, ben_client: Client, pages: dict[str, dict[str, str]]) -> None:
    suspend_user(user=ben, by=ben)
    for path, written in pages.items():
        page = ben_client.post(path, written).content.decode()
        assert "Your account is suspended" in page, path
        assert TEXT in page, path

"""Flagging."""

import pytest
from django.test import Client

from accounts.models import User
from community import moderation, pace
from community.errors import RefusedError
from community.models import Flag, FlagReason
from community.services import raise_flag
from forum import services as forum
from forum.models import Answer, Question


def path(answer: Answer) -> str:
    return f"/community/posts/{answer.post.public_id}/flag/"


def test_it_works(cyd_client: Client, answer: Answer) -> None:
    assert "Buy my cheap tokens" in cyd_client.get(path(answer)).content.decode()
    page = cyd_client.post(path(answer), {"reason": "spam", "note": "Again"}, follow=True).content.decode()
    assert "A moderator will look at it" in page
    flag = Flag.objects.get()
    assert (flag.reason, flag.note, flag.state) == ("spam", "Again", "open")
    answer.post.refresh_from_db()
    assert answer.post.open_flags == 1


@pytest.mark.parametrize(
    ("sent", "error"),
    [({"reason": "other"}, "Say in a few words"), ({"reason": "nonsense"}, "valid choice"), ({}, "required")],
)
def test_what_is_wrong_is_said(cyd_client: Client, answer: Answer, sent: dict[str, str], error: str) -> None:
    assert error in cyd_client.post(path(answer), {"note": "", "x": "y"} | sent).content.decode()
    assert not Flag.objects.exists()


def test_one_person_flags_a_post_once(cyd_client: Client, sam: User, answer: Answer, flag: Flag) -> None:
    assert "flagged this post already" in cyd_client.post(path(answer), {"reason": "spam"}).content.decode()
    moderation.dismiss_flags(post=answer.post, by=sam)
    assert "flagged this post already" in cyd_client.post(path(answer), {"reason": "spam"}).content.decode()


def test_nobody_flags_their_own(ben_client: Client, answer: Answer) -> None:
    assert "your own post" in ben_client.post(path(answer), {"reason": "spam"}).content.decode()


def test_suspended_people_cannot_flag(cyd: User, cyd_client: Client, sam: User, answer: Answer) -> None:
    moderation.suspend(person=cyd, by=sam, reason="Spam.")
    assert "suspended" in cyd_client.post(path(answer), {"reason": "spam"}).content.decode()
    assert not Flag.objects.exists()


def test_nobody_flags_without_end(cyd: User, ben: User, question: Question) -> None:
    for number in range(pace.FLAGS_PER_DAY):
        given = forum.answer(question=question, author=ben, source=f"Number {number}.", is_sample=True)
        raise_flag(post=given.post, flagger=cyd, reason=FlagReason.SPAM)
    last = forum.answer(question=question, author=ben, source="The last one.", is_sample=True)
    with pytest.raises(RefusedError):
        raise_flag(post=last.post, flagger=cyd, reason=FlagReason.SPAM)


def test_a_hidden_post_is_not_found(cyd_client: Client, sam: User, answer: Answer) -> None:
    moderation.hide_post(post=answer.post, by=sam, reason="Spam.")
    assert cyd_client.get(path(answer)).status_code == 404

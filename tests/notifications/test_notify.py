"""Who is told what in the site: one unread row per object, only what may still be read."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from accounts.models import User
from community import moderation
from forum import services as forum
from forum.models import Answer, Question
from notifications import services
from notifications.models import Notification
from notifications.texts import tell


@pytest.fixture
def question(ada: User) -> Question:
    return forum.ask(author=ada, title="Why does streaming stop half-way?", source="It ends in the middle of a word.")


@pytest.fixture
def answer(question: Question, ben: User) -> Answer:
    return forum.answer(question=question, author=ben, source="Raise max_tokens and try again.")


def texts(user: User) -> list[str]:
    return [told.text for told in tell(user, list(Notification.objects.for_list(user).order_by("pk")))]


def test_it_works(ada: User, answer: Answer) -> None:
    assert texts(ada) == ["Ben answered “Why does streaming stop half-way?”"]
    row = Notification.objects.get(recipient=ada)
    assert row.url.endswith(f"#{answer.public_id}")


def test_nobody_is_told_about_themselves(ada: User, question: Question) -> None:
    forum.answer(question=question, author=ada, source="I found it out myself: raise max_tokens.")
    assert texts(ada) == []


def test_what_happens_meanwhile_joins_the_unread_row(ada: User, cyd: User, question: Question, answer: Answer) -> None:
    forum.comment(question=question, on=question.post, author=cyd, source="Which model is it?")
    forum.answer(question=question, author=cyd, source="Another way is to ask for less.")
    assert texts(ada) == ["3 new answers and comments in “Why does streaming stop half-way?”"]


def test_after_reading_a_new_row_begins(ada: User, cyd: User, question: Question, answer: Answer) -> None:
    services.mark_read(user=ada, object_id=question.post.public_id)
    forum.answer(question=question, author=cyd, source="Another way is to ask for less.")
    assert len(texts(ada)) == 2


def test_the_commented_author_is_told(ben: User, cyd: User, question: Question, answer: Answer) -> None:
    forum.comment(question=question, on=answer.post, author=cyd, source="This worked for me.")
    assert texts(ben) == ["Cyd commented on your post in “Why does streaming stop half-way?”"]


def test_the_author_of_an_accepted_answer_is_told(ada: User, ben: User, answer: Answer) -> None:
    forum.accept(answer=answer, by=ada)
    assert texts(ben) == ["Ada accepted your answer to “Why does streaming stop half-way?”"]


def test_what_was_hidden_since_is_not_told(ada: User, ada_client: Client, sam: User, answer: Answer) -> None:
    moderation.hide_post(post=answer.post, by=sam, reason="Spam.")
    gone = "Something you were told about in “Why does streaming stop half-way?” has been removed since"
    assert texts(ada) == [gone]
    row = Notification.objects.get(recipient=ada)
    assert f'href="/notifications/{row.public_id}/"' in ada_client.get("/notifications/").content.decode()


def test_a_hidden_question_is_not_named(ben: User, cyd: User, sam: User, question: Question, answer: Answer) -> None:
    remark = forum.comment(question=question, on=answer.post, author=cyd, source="This worked for me.")
    moderation.hide_post(post=remark.post, by=sam, reason="Spam.")
    moderation.hide_post(post=question.post, by=sam, reason="Spam.")
    Notification.objects.filter(recipient=ben, group="forum.thread").update(object_id=question.post.public_id)
    assert texts(ben) == ["Something you were told about has been removed since."]


def test_somebody_without_a_name_is_called_in_the_readers_language(ada: User, cyd: User, question: Question) -> None:
    cyd.name = ""
    forum.answer(question=question, author=cyd, source="Another way is to ask for less.")
    with translation.override("zh-hans"):
        assert f"开发者 {cyd.public_id[-6:]}" in texts(ada)[0] or f"开发者{cyd.public_id[-6:]}" in texts(ada)[0]


def test_a_hidden_one_among_several_is_left_out(
    ada: User, cyd: User, sam: User, question: Question, answer: Answer
) -> None:
    forum.answer(question=question, author=cyd, source="Buy my cheap tokens here.")
    moderation.hide_post(post=question.answers.get(post__author=cyd).post, by=sam, reason="Spam.")
    assert texts(ada) == ["Ben answered “Why does streaming stop half-way?”"]


def test_the_list(ada: User, ada_client: Client, answer: Answer) -> None:
    page = ada_client.get("/notifications/").content.decode()
    assert "Ben answered" in page
    assert "1 unread notification" in page


def test_the_list_is_empty_at_first(ada_client: Client) -> None:
    assert "Nothing yet" in ada_client.get("/notifications/").content.decode()


def test_following_one_marks_it_read(ada: User, ada_client: Client, answer: Answer) -> None:
    row = Notification.objects.get(recipient=ada)
    response = ada_client.get(f"/notifications/{row.public_id}/")
    assert response["Location"] == row.url
    row.refresh_from_db()
    assert row.read_at is not None


def test_reading_the_thread_marks_it_read(ada: User, ada_client: Client, question: Question, answer: Answer) -> None:
    ada_client.get(question.get_absolute_url())
    assert not Notification.objects.unread(ada).exists()


def test_marking_all_as_read(ada: User, ada_client: Client, answer: Answer) -> None:
    ada_client.post("/notifications/read/")
    assert not Notification.objects.unread(ada).exists()


def test_strangers_cannot_open_it(ada: User, cyd_client: Client, answer: Answer) -> None:
    row = Notification.objects.get(recipient=ada)
    assert cyd_client.get(f"/notifications/{row.public_id}/").status_code == 404


def test_signed_out_people_are_sent_to_sign_in(client: Client) -> None:
    assert client.get("/notifications/")["Location"].startswith("/accounts/login/")


def test_the_list_costs_the_same_however_long(ada: User, ada_client: Client, cyd: User) -> None:
    for number in range(12):
        question = forum.ask(
            author=ada, title=f"A question with number {number}", source="Something to be answered.", is_sample=True
        )
        forum.answer(question=question, author=cyd, source="Something that answers it well.")
    with CaptureQueriesContext(connection) as queries:
        ada_client.get("/notifications/")
    # Session, user, standing, the page, its readable posts, the mail preference; the projects and the
    # unread count of the frame.
    assert len(queries) == 8

"""Answering, accepting, commenting."""

import pytest
from django.test import Client

from accounts.models import User
from community import moderation
from community.errors import RefusedError
from community.models import Post
from forum import services
from forum.access import question_for
from forum.models import Answer, Comment, Question
from forum.thread import read
from search.models import SearchDocument

GIVEN = "Raise max_tokens: 64 are spent by then."


def test_it_works(ben_client: Client, question: Question) -> None:
    response = ben_client.post(question.get_absolute_url(), {"text": GIVEN, "submission": "s1"})
    answer = Answer.objects.get()
    assert answer.public_id.startswith("a_")
    assert response["Location"] == f"{question.get_absolute_url()}#{answer.public_id}"
    question.refresh_from_db()
    assert question.answer_count == 1
    page = ben_client.get(question.get_absolute_url()).content.decode()
    assert f'id="{answer.public_id}"' in page
    assert GIVEN in page


def test_a_short_one_is_refused_and_kept(ben_client: Client, question: Question) -> None:
    page = ben_client.post(question.get_absolute_url(), {"text": "Too short"}).content.decode()
    assert "Write at least 20 characters" in page
    assert "Too short</textarea>" in page
    assert question.title in page


def test_sending_it_twice_answers_once(ben_client: Client, question: Question) -> None:
    for _ in range(2):
        ben_client.post(question.get_absolute_url(), {"text": GIVEN, "submission": "s1"})
    assert Answer.objects.count() == 1


def test_signed_out_people_are_asked_to_sign_in(client: Client, question: Question) -> None:
    assert "Sign in to answer" in client.get(question.get_absolute_url()).content.decode()
    response = client.post(question.get_absolute_url(), {"text": GIVEN})
    assert response["Location"].startswith("/accounts/login/?next=/forum/questions/")
    assert not Answer.objects.exists()


@pytest.mark.parametrize("state", ["hidden", "locked", "suspended"])
def test_what_takes_no_answer(
    state: str, ada_client: Client, ada: User, ben: User, ben_client: Client, sam: User, question: Question
) -> None:
    if state == "hidden":
        moderation.hide_post(post=question.post, by=sam, reason="Spam.")
        assert ben_client.post(question.get_absolute_url(), {"text": GIVEN}).status_code == 404
        # Its author can read it, and is refused all the same.
        assert "takes no answers" in ada_client.post(question.get_absolute_url(), {"text": GIVEN}).content.decode()
    elif state == "locked":
        moderation.lock_post(post=question.post, by=sam)
        page = ben_client.post(question.get_absolute_url(), {"text": GIVEN}).content.decode()
        assert "locked this thread" in page
    else:
        moderation.suspend(person=ben, by=sam, reason="Spam.")
        page = ben_client.post(question.get_absolute_url(), {"text": GIVEN}).content.decode()
        assert "Your account is suspended" in page
    assert not Answer.objects.exists()


def test_accepting(ada_client: Client, question: Question, answer: Answer) -> None:
    ada_client.post(f"/forum/answers/{answer.public_id}/accept/")
    question.refresh_from_db()
    assert (question.accepted_answer, question.is_solved) == (answer, True)
    assert "Accepted answer" in ada_client.get(question.get_absolute_url()).content.decode()
    assert "Solved" in ada_client.get("/forum/").content.decode()
    ada_client.post(f"/forum/answers/{answer.public_id}/accept/")
    question.refresh_from_db()
    assert (question.accepted_answer, question.is_solved) == (None, False)


def test_coming_back_from_signing_in_accepts_and_deletes_nothing(ada_client: Client, answer: Answer) -> None:
    response = ada_client.get(f"/forum/answers/{answer.public_id}/accept/", follow=True)
    assert "Accepted answer" not in response.content.decode()
    ada_client.get(f"/forum/posts/{answer.question.post.public_id}/delete/")
    assert Post.objects.visible().count() == 2


def test_only_the_asker_accepts(ben_client: Client, cyd_client: Client, question: Question, answer: Answer) -> None:
    for client in (ben_client, cyd_client):
        page = client.post(f"/forum/answers/{answer.public_id}/accept/", follow=True).content.decode()
        assert "Only who asked can accept" in page
    question.refresh_from_db()
    assert question.accepted_answer is None


def test_the_accepted_answer_stands_first(
    ada: User, cyd: User, client: Client, question: Question, answer: Answer
) -> None:
    second = services.answer(question=question, author=cyd, source="Another way is to leave it out.")
    services.accept(answer=second, by=ada)
    page = client.get(question.get_absolute_url()).content.decode()
    assert page.index(second.public_id) < page.index(answer.public_id)


def test_a_hidden_accepted_answer_solves_nothing(
    ada: User, ben_client: Client, sam: User, question: Question, answer: Answer
) -> None:
    services.accept(answer=answer, by=ada)
    act = moderation.hide_post(post=answer.post, by=sam, reason="Spam.")
    question.refresh_from_db()
    assert (question.is_solved, question.answer_count) == (False, 0)
    assert "Accepted answer" not in ben_client.get(question.get_absolute_url()).content.decode()
    moderation.undo(act=act, by=sam)
    question.refresh_from_db()
    assert (question.is_solved, question.answer_count) == (True, 1)


def test_an_answer_deleted_meanwhile_is_not_accepted(ada: User, ben: User, answer: Answer) -> None:
    services.delete(post=Post.objects.get(pk=answer.post_id), by=ben)
    with pytest.raises(RefusedError):
        services.accept(answer=answer, by=ada)


def test_an_accepted_answer_is_not_deleted(ada: User, ben_client: Client, answer: Answer) -> None:
    services.accept(answer=answer, by=ada)
    response = ben_client.post(f"/forum/posts/{answer.post.public_id}/delete/", follow=True)
    assert "so it stays" in response.content.decode()


def test_commenting(cyd_client: Client, question: Question, answer: Answer) -> None:
    path = f"/forum/posts/{answer.post.public_id}/comment/"
    assert cyd_client.get(path).status_code == 200
    response = cyd_client.post(path, {"text": "This worked for *me*.", "submission": "s1"})
    comment = Comment.objects.get()
    assert response["Location"].endswith(f"#{comment.public_id}")
    assert "This worked for <em>me</em>." in cyd_client.get(question.get_absolute_url()).content.decode()


def test_a_long_comment_is_refused_and_kept(cyd_client: Client, answer: Answer) -> None:
    page = cyd_client.post(f"/forum/posts/{answer.post.public_id}/comment/", {"text": "x" * 1001}).content.decode()
    assert "x" * 1001 in page
    assert not Comment.objects.exists()


def test_comments_go_with_what_they_are_about(
    client: Client, cyd: User, sam: User, question: Question, answer: Answer
) -> None:
    services.comment(question=question, on=answer.post, author=cyd, source="A remark on the answer.")
    moderation.hide_post(post=answer.post, by=sam, reason="Spam.")
    assert "A remark on the answer." not in client.get(question.get_absolute_url()).content.decode()
    assert client.get("/forum/", {"q": "remark"}).context["page"].items == []


def test_what_was_hidden_meanwhile_does_not_come_back_into_the_search(
    client: Client, ben: User, sam: User, question: Question, answer: Answer
) -> None:
    hidden = Question.objects.get(pk=question.pk)
    moderation.hide_post(post=hidden.post, by=sam, reason="Shows a secret.")
    services.reindex(question)
    assert client.get("/forum/", {"q": "streaming"}).context["page"].items == []
    post = Post.objects.select_related("answer__question").get(pk=answer.post_id)
    post.answer.question = question
    services.edit(post=post, by=ben, source="Raise max_tokens, and then streaming goes on.", base=1)
    assert not SearchDocument.objects.filter(object_id=question.public_id).exists()


def test_comments_come_with_the_answers_of_their_page(client: Client, ben: User, cyd: User, question: Question) -> None:
    for number in range(31):
        given = services.answer(question=question, author=ben, source=f"Answer number {number}.", is_sample=True)
        services.comment(question=question, on=given.post, author=cyd, source=f"Remark {number}.", is_sample=True)
    thread = read(question_for(cyd, question.public_id), cyd)
    assert sum(len(entry.comments) for entry in thread.answers) == 30
    thread = read(question_for(cyd, question.public_id), cyd, start=30)
    assert [entry.comments[0].post.source for entry in thread.answers] == ["Remark 30."]


def test_many_answers_come_in_pages(client: Client, ben: User, question: Question) -> None:
    for number in range(32):
        services.answer(question=question, author=ben, source=f"Answer number {number}.", is_sample=True)
    first = client.get(question.get_absolute_url()).content.decode()
    assert "More answers" in first
    second = client.get(question.get_absolute_url(), {"from": "30"}).content.decode()
    assert "Answer number 31." in second
    assert "More answers" not in second
    assert client.get(question.get_absolute_url(), {"from": "-1'"}).status_code == 200


def test_removing_a_question_removes_its_thread(question: Question, answer: Answer, cyd: User) -> None:
    services.comment(question=question, on=answer.post, author=cyd, source="A remark on the answer.")
    question.post.delete()
    assert not Post.objects.exists()

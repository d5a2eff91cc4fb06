"""Voting."""

import pytest
from django.test import Client

from accounts.models import User
from community import moderation
from community.models import Vote
from forum import services as forum
from forum.models import Answer, Question


def vote(client: Client, answer: Answer, value: str, **headers: str) -> str:
    response = client.post(f"/community/posts/{answer.post.public_id}/vote/", {"value": value}, headers=headers)
    answer.post.refresh_from_db()
    return response.content.decode() if response.status_code == 200 else response["Location"]


def test_it_works(cyd_client: Client, answer: Answer) -> None:
    assert vote(cyd_client, answer, "up").endswith(f"#{answer.public_id}")
    assert answer.post.score == 1


def test_it_answers_with_the_buttons_to_htmx(cyd_client: Client, answer: Answer) -> None:
    fragment = vote(cyd_client, answer, "up", HX_Request="true")
    assert "<html" not in fragment
    assert 'aria-pressed="true"' in fragment
    assert answer.post.score == 1


@pytest.mark.parametrize(
    ("votes", "score"),
    [(["up", "up"], 1), (["up", "down"], -1), (["up", "none"], 0), (["none"], 0), (["down", "nonsense"], 0)],
)
def test_changing_ones_mind(cyd_client: Client, answer: Answer, votes: list[str], score: int) -> None:
    for value in votes:
        vote(cyd_client, answer, value)
    assert answer.post.score == score
    assert Vote.objects.count() == abs(score)


def test_nobody_votes_on_their_own(ben_client: Client, answer: Answer) -> None:
    page = ben_client.post(f"/community/posts/{answer.post.public_id}/vote/", {"value": "up"}, follow=True)
    assert "cannot vote on your own post" in page.content.decode()
    answer.post.refresh_from_db()
    assert answer.post.score == 0


@pytest.mark.parametrize("state", ["comment", "locked", "suspended"])
def test_what_takes_no_votes(
    state: str, ada: User, ben: User, cyd: User, cyd_client: Client, sam: User, question: Question, answer: Answer
) -> None:
    post = answer.post
    if state == "comment":
        post = forum.comment(question=question, on=answer.post, author=ada, source="A remark on this.").post
    elif state == "locked":
        moderation.lock_post(post=question.post, by=sam)
    else:
        moderation.suspend(person=cyd, by=sam, reason="Spam.")
    cyd_client.post(f"/community/posts/{post.public_id}/vote/", {"value": "up"})
    assert not Vote.objects.exists()


def test_a_hidden_post_is_not_found(cyd_client: Client, sam: User, answer: Answer) -> None:
    moderation.hide_post(post=answer.post, by=sam, reason="Spam.")
    assert cyd_client.post(f"/community/posts/{answer.post.public_id}/vote/", {"value": "up"}).status_code == 404


def test_an_answer_of_a_hidden_question_is_not_found(
    cyd_client: Client, sam: User, question: Question, answer: Answer
) -> None:
    moderation.hide_post(post=question.post, by=sam, reason="Spam.")
    assert cyd_client.post(f"/community/posts/{answer.post.public_id}/vote/", {"value": "up"}).status_code == 404


def test_signed_out_people_are_sent_to_sign_in(client: Client, answer: Answer) -> None:
    assert vote(client, answer, "up").startswith("/accounts/login/")


def test_a_part_of_a_page_does_not_become_the_sign_in_page(client: Client, answer: Answer) -> None:
    path = f"/community/posts/{answer.post.public_id}/vote/"
    response = client.post(path, {"value": "up"}, headers={"HX-Request": "true"})
    assert response["HX-Redirect"].startswith("/accounts/login/?next=/forum/questions/")


def test_a_get_changes_nothing(cyd_client: Client, answer: Answer) -> None:
    response = cyd_client.get(f"/community/posts/{answer.post.public_id}/vote/", {"value": "up"})
    assert response["Location"].endswith(f"#{answer.public_id}")
    assert not Vote.objects.exists()

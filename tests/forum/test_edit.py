"""Editing, and the history it leaves."""

import time

import pytest
from django.test import Client

from accounts.models import User
from community import moderation
from forum.history import compare
from forum.models import Answer, Question
from tests.forum.conftest import TEXT


def path(question: Question, what: str = "edit") -> str:
    return f"/forum/posts/{question.post.public_id}/{what}/"


CHANGE = {
    "title": "Why does streaming stop so early?",
    "text": f"{TEXT}\n\nEdit: with httpx too.",
    "tags": "python",
    "summary": "httpx",
    "base": "1",
}


def test_it_works(ada_client: Client, client: Client, question: Question) -> None:
    assert TEXT in ada_client.get(path(question)).content.decode()
    ada_client.post(path(question), CHANGE)
    question.refresh_from_db()
    assert question.title == CHANGE["title"]
    assert [tag.name for tag in question.tags.all()] == ["python"]
    page = client.get(question.get_absolute_url()).content.decode()
    assert "Edit: with httpx too." in page
    assert "2 versions" in page
    history = client.get(path(question, "history")).content.decode()
    assert "Why does streaming stop half-way?</del>" in history
    assert ">Edit: with httpx too.</ins>" in history
    assert "As it was first posted" in client.get(path(question, "history"), {"revision": "1"}).content.decode()


def test_an_answer_and_a_comment_are_edited_too(ben_client: Client, answer: Answer) -> None:
    ben_client.post(
        f"/forum/posts/{answer.post.public_id}/edit/", {"text": "Leave max_tokens out instead.", "base": "1"}
    )
    answer.post.refresh_from_db()
    assert answer.post.html == "<p>Leave max_tokens out instead.</p>\n"


def test_saving_without_a_change_makes_no_version(ada_client: Client, question: Question) -> None:
    ada_client.post(path(question), {"title": question.title, "text": TEXT, "tags": "streaming python", "base": "1"})
    question.post.refresh_from_db()
    assert question.post.revision == 1


def test_staff_edit_too(sam_client: Client, question: Question) -> None:
    sam_client.post(path(question), CHANGE)
    question.post.refresh_from_db()
    assert question.post.revisions.get(number=2).editor.name == "Sam"


@pytest.mark.parametrize("who", ["ben_client", "cyd_client"])
def test_others_do_not(who: str, request: pytest.FixtureRequest, question: Question) -> None:
    client: Client = request.getfixturevalue(who)
    page = client.post(path(question), CHANGE).content.decode()
    assert "can no longer be edited" in page
    question.post.refresh_from_db()
    assert question.post.revision == 1
    assert f'href="{path(question)}"' not in client.get(question.get_absolute_url()).content.decode()


def test_who_may_not_edit_is_told_before_writing(cyd_client: Client, sam_client: Client, question: Question) -> None:
    assert "can no longer be edited" in cyd_client.get(path(question), follow=True).content.decode()
    assert sam_client.get(path(question)).status_code == 200


def test_a_locked_or_hidden_post_is_not_edited(ada_client: Client, sam: User, question: Question) -> None:
    moderation.lock_post(post=question.post, by=sam)
    assert "can no longer be edited" in ada_client.post(path(question), CHANGE).content.decode()
    moderation.unlock_post(post=question.post, by=sam)
    moderation.hide_post(post=question.post, by=sam, reason="Spam.")
    assert "can no longer be edited" in ada_client.post(path(question), CHANGE).content.decode()


def test_two_editors_do_not_overwrite_each_other(ada_client: Client, sam_client: Client, question: Question) -> None:
    sam_client.post(path(question), CHANGE)
    page = ada_client.post(path(question), CHANGE | {"text": f"{TEXT} My own words."}).content.decode()
    assert "was edited while you were writing" in page
    assert "My own words." in page


def test_the_history_of_a_hidden_post_is_hidden(
    client: Client, ada_client: Client, sam: User, question: Question
) -> None:
    moderation.hide_post(post=question.post, by=sam, reason="Spam.")
    assert client.get(path(question, "history")).status_code == 404
    assert ada_client.get(path(question, "history")).status_code == 200


def test_an_unknown_version_is_not_found(client: Client, question: Question) -> None:
    for revision in ("9", "99999999"):
        response = client.get(path(question, "history"), {"revision": revision})
        assert response.status_code == (404 if revision == "9" else 200)


def test_comparing() -> None:
    lines = [(line.change, line.text) for line in compare("a\nb\nc", "a\nx\nc\nd")]
    assert lines == [("same", "a"), ("removed", "b"), ("added", "x"), ("same", "c"), ("added", "d")]


def test_unchanged_stretches_are_folded() -> None:
    text = [f"line {number}" for number in range(100)]
    changed = [*text[:50], "new", *text[50:]]
    lines = compare("\n".join(text), "\n".join(changed))
    assert [line.change for line in lines] == [
        *["same"] * 3,
        "folded",
        *["same"] * 3,
        "added",
        *["same"] * 3,
        "folded",
    ] + ["same"] * 3
    assert [line.count for line in lines if line.change == "folded"] == [44, 44]


HUGE = {
    "other": ("a\n" * 16_000, "b\n" * 16_000),
    "first": ("", "a\n" * 16_000),
    "within": ("x\n" * 8_000 + "a\n" * 190 + "y\n" * 7_000, "x\n" * 8_000 + "a\nb\n" * 95 + "y\n" * 7_000),
    "shuffled": ("\n".join(map(str, range(6000))), "\n".join(map(str, range(6000, 0, -1)))),
    "repeated": ("a\nb\n" * 100, "a\nc\n" * 99),
}


@pytest.mark.parametrize("texts", HUGE.values(), ids=HUGE)
def test_a_huge_text_takes_neither_time_nor_room(texts: tuple[str, str]) -> None:
    started = time.thread_time()
    lines = compare(*texts)
    assert time.thread_time() - started < 0.3
    assert len(lines) <= 1020


def test_the_page_of_a_huge_change_stays_small(ada_client: Client, question: Question) -> None:
    for base, text in ((1, "a\n" * 16_000), (2, "b\n" * 15_999)):
        ada_client.post(path(question), CHANGE | {"text": text, "base": str(base)})
    page = ada_client.get(path(question, "history"))
    assert page.status_code == 200
    assert len(page.content) < 500_000
    assert "15,499 more lines" in page.content.decode() or "15499 more lines" in page.content.decode()

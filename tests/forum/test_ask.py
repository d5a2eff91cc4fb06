"""Asking."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Project, User
from apikeys.services import mint_key
from apikeys.verification import new_secret
from community import moderation
from community.errors import RefusedError
from community.models import Post, PostState, Tag
from forum import services
from forum.models import Question
from tests.forum.conftest import TEXT
from tests.left_behind import OPENS_NOTHING

ASKED = {"title": "Why does streaming stop half-way?", "text": TEXT, "tags": "Streaming, python", "submission": "s1"}


def test_it_works(ada: User, ada_client: Client) -> None:
    assert "Post the question" in ada_client.get("/forum/ask/").content.decode()
    response = ada_client.post("/forum/ask/", ASKED)
    question = Question.objects.get()
    assert response["Location"] == question.get_absolute_url()
    assert question.public_id.startswith("q_")
    assert (question.post.author, question.post.language) == (ada, "en")
    assert sorted(tag.name for tag in question.tags.all()) == ["python", "streaming"]
    page = ada_client.get(response["Location"]).content.decode()
    assert "Why does streaming stop half-way?" in page
    assert "stops in the middle of a word" in page


def test_in_chinese_fewer_characters_are_enough(ada_client: Client) -> None:
    ada_client.post(
        "/forum/ask/", {"title": "流式输出为何中断", "text": "设置了上限，输出只到一半。", "tags": "用量，流式"}
    )
    question = Question.objects.get()
    assert question.post.language == "zh-hans"
    assert question.slug == "流式输出为何中断"
    assert ada_client.get(question.get_absolute_url()).status_code == 200


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"title": "Too short"}, "Write at least 15 characters"),
        ({"title": "太短"}, "Write at least 6 characters"),
        ({"text": "Short."}, "Write at least 20 characters"),
        ({"text": "x" * 32_001}, "32000"),
        ({"title": "t" * 151}, "150"),
        ({"tags": "a b c d e f"}, "Up to 5 tags"),
        ({"tags": "<b>"}, "cannot be a tag"),
        ({"tags": "t" * 36}, "cannot be a tag"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(ada_client: Client, change: dict[str, str], error: str) -> None:
    sent = ASKED | {"text": f"{TEXT} A sentence to be kept."} | change
    page = ada_client.post("/forum/ask/", sent).content.decode()
    assert error in page
    assert not Question.objects.exists()
    if "text" not in change:
        assert "A sentence to be kept." in page
    assert 'value="s1"' in page


def test_sending_the_form_twice_asks_once(ada_client: Client) -> None:
    first, second = ada_client.post("/forum/ask/", ASKED), ada_client.post("/forum/ask/", ASKED)
    assert first["Location"] == second["Location"]
    assert Post.objects.count() == 1


def test_going_back_and_writing_something_else_asks_again(ada_client: Client) -> None:
    ada_client.post("/forum/ask/", ASKED)
    ada_client.post("/forum/ask/", ASKED | {"title": "Another question altogether", "text": f"{TEXT} And more."})
    assert Question.objects.count() == 2


def with_key(secret: str, before: str = "api_key=", **more: str) -> dict[str, str]:
    return ASKED | {"text": f"{TEXT}\n\n    {before}{secret}", **more}


def test_a_key_that_works_is_not_published(ada: User, ada_client: Client, project: Project) -> None:
    key, secret = mint_key(project=project, name="laptop", by=ada)
    page = ada_client.post("/forum/ask/", with_key(secret)).content.decode()
    assert "contains an API key that works: “laptop”" in page
    assert f'value="{key.public_id}"' in page
    assert not Post.objects.exists()


def test_it_is_revoked_right_there_and_the_draft_stays(ada: User, ada_client: Client, project: Project) -> None:
    key, secret = mint_key(project=project, name="laptop", by=ada)
    page = ada_client.post("/forum/ask/", with_key(secret, revoke_key=key.public_id)).content.decode()
    key.refresh_from_db()
    assert key.is_revoked
    assert "stops in the middle of a word" in page
    assert not Post.objects.exists()
    assert ada_client.post("/forum/ask/", with_key(secret, OPENS_NOTHING)).status_code == 302


def test_whose_key_it_is_is_told_to_nobody_else(ada: User, cyd_client: Client, project: Project) -> None:
    key, secret = mint_key(project=project, name="laptop", by=ada)
    page = cyd_client.post("/forum/ask/", with_key(secret)).content.decode()
    assert "contains an API key that works" in page
    assert "“laptop”" not in page
    assert key.public_id not in page
    assert cyd_client.post("/forum/ask/", with_key(secret, revoke_key=key.public_id)).status_code == 404
    key.refresh_from_db()
    assert not key.is_revoked


def test_a_key_that_opens_nothing_does_no_harm(ada_client: Client) -> None:
    assert ada_client.post("/forum/ask/", with_key(new_secret(), OPENS_NOTHING)).status_code == 302


@pytest.mark.parametrize("place", ["title", "tags"])
def test_it_is_found_wherever_it_stands(place: str, ada: User, ada_client: Client, project: Project) -> None:
    _key, secret = mint_key(project=project, name="laptop", by=ada)
    page = ada_client.post("/forum/ask/", ASKED | {place: f"What about {secret}"})
    assert page.status_code == 200
    assert not Post.objects.exists()


def test_everywhere_else_too(ada: User, ada_client: Client, project: Project, cyd: User) -> None:
    _key, secret = mint_key(project=project, name="laptop", by=ada)
    mine = services.ask(author=ada, title=ASKED["title"], source=TEXT)
    theirs = services.ask(author=cyd, title="Another question altogether", source=TEXT)
    pages = [
        ada_client.post(theirs.get_absolute_url(), {"text": f"Use mine, it works: {secret}"}),
        ada_client.post(f"/forum/posts/{theirs.post.public_id}/comment/", {"text": f"Use mine: {secret}"}),
        ada_client.post(
            f"/forum/posts/{mine.post.public_id}/edit/",
            {"title": mine.title, "text": f"{TEXT} {secret}", "base": "1", "summary": ""},
        ),
    ]
    for page in pages:
        assert "contains an API key that works" in page.content.decode()
        assert 'name="revoke_key"' in page.content.decode()
    assert Post.objects.count() == 2


def test_a_new_account_asks_only_so_often(ada: User, ada_client: Client) -> None:
    for number in range(5):
        ada_client.post("/forum/ask/", ASKED | {"submission": f"n{number}"})
    page = ada_client.post("/forum/ask/", ASKED | {"submission": "last"}).content.decode()
    assert "as many as one person may" in page
    assert "stops in the middle of a word" in page
    User.objects.filter(pk=ada.pk).update(date_joined=timezone.now() - timedelta(days=2))
    assert ada_client.post("/forum/ask/", ASKED | {"submission": "last"}).status_code == 302


def test_suspended_people_cannot_ask(ada: User, ada_client: Client, sam: User) -> None:
    moderation.suspend(person=ada, by=sam, reason="Spam.")
    page = ada_client.post("/forum/ask/", ASKED).content.decode()
    assert "Your account is suspended" in page
    assert not Post.objects.exists()


def test_the_form_is_filled_in_by_its_address(ada_client: Client) -> None:
    page = ada_client.get("/forum/ask/", {"title": "A title <b>", "tags": "python"}).content.decode()
    assert 'value="A title &lt;b&gt;"' in page
    assert 'value="python"' in page


def test_signed_out_people_are_sent_to_sign_in(client: Client, db: None) -> None:
    assert client.get("/forum/ask/")["Location"] == "/accounts/login/?next=/forum/ask/"


def test_the_preview_is_what_the_page_will_show(ada_client: Client) -> None:
    html = ada_client.post("/forum/preview/", {"text": "**bold** <script>alert(1)</script>"}).content.decode()
    assert html == "<p><strong>bold</strong> &lt;script&gt;alert(1)&lt;/script&gt;</p>\n"


def test_a_wrong_slug_leads_to_the_right_one(client: Client, question: Question) -> None:
    for path in (f"/forum/questions/{question.public_id}/", f"/forum/questions/{question.public_id}/other/"):
        response = client.get(path)
        assert (response.status_code, response["Location"]) == (301, question.get_absolute_url())


def test_an_unknown_question_is_not_found(client: Client, db: None) -> None:
    assert client.get("/forum/questions/q_unknown/").status_code == 404


def test_tags_count_what_is_listed(question: Question, sam: User, ada: User) -> None:
    def counts() -> dict[str, int]:
        return dict(Tag.objects.values_list("name", "question_count"))

    assert counts() == {"streaming": 1, "python": 1}
    act = moderation.hide_post(post=question.post, by=sam, reason="Spam.")
    assert counts() == {"streaming": 0, "python": 0}
    moderation.undo(act=act, by=sam)
    question.refresh_from_db()
    services.edit(post=question.post, by=ada, source=TEXT, base=1, title=question.title, tags=["python", "sdk"])
    assert counts() == {"streaming": 0, "python": 1, "sdk": 1}
    question.post.delete()
    assert counts() == {"streaming": 0, "python": 0, "sdk": 0}


def test_deleting_ones_question(ada_client: Client, client: Client, question: Question) -> None:
    ada_client.post(f"/forum/posts/{question.post.public_id}/delete/")
    question.post.refresh_from_db()
    assert question.post.state == PostState.DELETED
    assert client.get(question.get_absolute_url()).status_code == 404
    assert "Deleted by its author" in ada_client.get(question.get_absolute_url()).content.decode()


def test_a_question_with_answers_is_not_deleted(ada_client: Client, question: Question, answer: object) -> None:
    response = ada_client.post(f"/forum/posts/{question.post.public_id}/delete/", follow=True)
    assert "so it stays" in response.content.decode()


def test_an_answer_that_comes_while_it_is_deleted_keeps_it(ada: User, ben: User, question: Question) -> None:
    read_before = Post.objects.select_related("question").get(pk=question.post_id)
    services.answer(question=question, author=ben, source="A proxy in between buffers what it gets.")
    with pytest.raises(RefusedError):
        services.delete(post=read_before, by=ada)


def test_others_do_not_delete_it(cyd_client: Client, question: Question) -> None:
    cyd_client.post(f"/forum/posts/{question.post.public_id}/delete/")
    question.post.refresh_from_db()
    assert question.post.is_visible


def test_a_thread_costs_the_same_however_long(
    ada: User, ben: User, cyd: User, sam: User, cyd_client: Client, question: Question
) -> None:
    for number in range(8):
        given = services.answer(question=question, author=ben, source=f"Answer number {number}, which helps.")
        services.comment(question=question, on=given.post, author=ada, source="Thank you for this.")
    with CaptureQueriesContext(connection) as queries:
        cyd_client.get(question.get_absolute_url())
    # Session, user, standing; the question, its tags, what is marked read; answers, comments, my votes; the
    # projects and the unread count of the frame.
    assert len(queries) == 11


def test_who_has_no_name_is_told_how_they_appear(ada: User, ada_client: Client, question: Question) -> None:
    for url in ("/forum/ask/", question.get_absolute_url()):
        assert "You appear as" not in ada_client.get(url).content.decode()
    User.objects.filter(pk=ada.pk).update(name="")
    for url in ("/forum/ask/", question.get_absolute_url()):
        assert f"You appear as Developer {ada.public_id[-6:]}." in ada_client.get(url).content.decode()
